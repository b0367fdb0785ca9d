"""Figures with everything that goes with them, the same bytes each time, and a mark on what is synthetic."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from sendap.report.figures import ALT_LIMIT, event_figure, interval_figure, plot_estimates, series_figure
from sendap.report.style import SYNTHETIC_WORDS

HOSTILE = '<script>alert("x")</script>'
LONG = (
    "Key stage 2: pupils with SEN support who reach the expected standard in reading, writing and maths, all "
    "state-funded schools and academies of the area, first results as published in the autumn"
)
NAN = float("nan")


class Parsed(HTMLParser):
    def __init__(self, html):
        super().__init__()
        self.tags = []
        self.feed(html)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def one(self, tag):
        (found,) = [attrs for name, attrs in self.tags if name == tag]
        return found


def means(**changes):
    frame = pd.DataFrame(
        {
            "period": [2019, 2020, 2021, 2022],
            "treated": [73.0, 73.1, 69.0, 59.5],
            "comparison": [61.1, 59.9, 60.8, 51.3],
        }
    )
    return frame.assign(**changes)


def series(frame=None, **changes):
    given = {
        "title": "Timeliness fell", "measure": "Plans within 20 weeks", "unit": "per cent", "kind": "calendar year",
        "source": "Department for Education", "start": "September 2023", "first_treated": 2022, "name": "timely-series",
        "synthetic": False,
    }  # fmt: skip
    return series_figure(means() if frame is None else frame, **(given | changes))


def rows(**changes):
    frame = pd.DataFrame(
        {
            "event_time": [-4.0, -3.0, -1.0, 0.0, 1.0], "estimate": [2.5, -6.25, 1.0, -3.5, -2.0],
            "ci_low": [0.0, -9.0, -1.0, -7.0, -6.0], "ci_high": [5.0, -3.0, 3.0, 0.5, 2.0], "inference": "crv3",
            "treated_clusters": 32.0, "clusters": 150.0, "term": "event", "estimator": "group_time",
            "outcome": "timely", "unit": "per cent", "synthetic": False,
        }
    )  # fmt: skip
    return frame.assign(**changes)


def event(frame=None, **changes):
    given = {
        "title": "On other paths", "measure": "Plans within 20 weeks", "unit": "per cent", "source": "DfE",
        "anticipation": 1, "name": "timely-events", "synthetic": False,
    }  # fmt: skip
    return event_figure(rows() if frame is None else frame, **(given | changes))


def intervals(frame=None, **changes):
    given = {
        "title": "A gain or a loss", "measure": "Plans within 20 weeks", "unit": "per cent", "source": "DfE",
        "threshold": 5.0, "name": "headline", "synthetic": False,
    }  # fmt: skip
    frame = rows().iloc[3:5] if frame is None else frame
    return interval_figure(frame.reset_index(drop=True), ["Headline", "Other"][: len(frame)], **(given | changes))


ALL = {"series": series, "event": event, "interval": intervals}


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_a_figure_brings_title_alt_caption_table_and_file(make):
    figure = make()
    html = figure.html().html
    parsed = Parsed(html)
    image = parsed.one("img")
    assert image["alt"] == figure.alt
    assert base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))[:8] == b"\x89PNG\r\n\x1a\n"
    assert f"<strong>{figure.title}</strong>" in html
    assert f"<figcaption>{figure.caption}</figcaption>" in html
    assert "Source: " in figure.caption
    assert "England" in figure.caption
    assert parsed.one("a")["download"] == f"{figure.name}.csv"
    parsed.one("caption")
    assert figure._repr_html_() == html


def test_the_alternative_text_says_the_message_with_its_numbers():
    assert series().alt == (
        "Line chart. Plans within 20 weeks: programme areas went from 73.0 in 2019 to 59.5 in 2022, comparison "
        "areas from "
        "61.1 to 51.3. Figures in the table below."
    )
    assert event().alt == (
        "Dot chart with 95% confidence intervals. Plans within 20 weeks by years from the start. Largest difference "
        "before: −6.2 at −3 years. First year after: −3.5. Figures in the table below."
    )
    assert intervals().alt == (
        "Interval chart. Plans within 20 weeks: best estimate −4, 95% confidence interval −7 to 0. Figures in "
        "the table "
        "below."
    )


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_the_alternative_text_stays_short_whatever_the_measure(make):
    figure = make(measure=LONG)
    assert ALT_LIMIT == 250
    assert len(figure.alt) <= ALT_LIMIT
    assert "Key stage 2: pupils with SEN support" in figure.alt
    assert "…" in figure.alt
    assert figure.alt.endswith("Figures in the table below.")
    assert LONG in figure.caption  # nothing is lost


def by_length(series):
    return len(series.label) + len(series.unit)


def test_every_measure_of_the_catalogue_has_a_short_alternative_text(catalog):
    # Drawing is slow, and only long names can be too long: the five longest of all measures, and the shortest.
    series = sorted((each for dataset in catalog.datasets.values() for each in dataset.series), key=by_length)
    for each in (*series[-5:], series[0]):
        for make in ALL.values():
            figure = make(measure=each.label, unit=each.unit)
            assert 60 < len(figure.alt) <= ALT_LIMIT


def test_a_figure_without_any_interval_says_so_instead_of_a_number():
    gone = intervals(rows(ci_low=NAN, ci_high=NAN).iloc[3:4])
    assert ": best estimate −3.5, no interval could be computed." in gone.alt
    nothing = intervals(rows(estimate=NAN, ci_low=NAN, ci_high=NAN).iloc[3:4])
    assert ": no effect could be estimated." in nothing.alt
    assert "nan" not in (gone.alt + nothing.alt + event(rows(estimate=NAN, ci_low=NAN, ci_high=NAN)).alt)


def test_a_series_of_one_group_alone_still_makes_a_figure():
    figure = series(means(treated=NAN))
    assert "no period has figures of both groups" in figure.alt
    assert "2019 to 2022" in figure.caption


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_hostile_text_stays_text(make):
    figure = make(title=HOSTILE, measure=HOSTILE, source=HOSTILE, name=HOSTILE)
    html = figure.html().html
    assert "<script" not in html
    assert {tag for tag, _ in Parsed(html).tags} <= {
        "figure", "p", "strong", "img", "figcaption", "details", "summary", "div", "table", "caption", "thead", "tbody",
        "tr", "th", "td", "a",
    }  # fmt: skip
    assert HOSTILE in Parsed(html).one("img")["alt"]


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_the_same_results_give_the_same_bytes(make):
    first, second = make(), make()
    assert first.png() == second.png() == first.png()
    assert first.html().html == second.html().html
    assert b"Software" not in first.png()
    with plt.rc_context({"savefig.dpi": 40, "savefig.facecolor": "black", "savefig.bbox": "tight"}):
        assert make().png() == first.png()  # whatever a notebook has set


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_synthetic_figures_say_so_in_title_table_and_picture(make):
    real, made_up = make(), make(synthetic=True)
    html = made_up.html().html
    assert f"({SYNTHETIC_WORDS})</strong>" in html
    assert f"({SYNTHETIC_WORDS})</caption>" in html
    marks = [text.get_text() for text in made_up.canvas.texts]
    assert marks == ["SYNTHETIC DATA, NOT A FINDING"]
    assert made_up.canvas.texts[0].get_fontsize() >= 20
    assert made_up.png() != real.png()
    assert [text.get_text() for text in real.canvas.texts] == []
    assert SYNTHETIC_WORDS not in real.html().html


def test_the_tables_hold_the_figures_drawn():
    assert series().data.to_dict("list") == {
        "Period": ["2019", "2020", "2021", "2022"],
        "Programme areas (per cent)": [73.0, 73.1, 69.0, 59.5],
        "Comparison areas (per cent)": [61.1, 59.9, 60.8, 51.3],
    }
    assert event().data["Years from start"].tolist() == ["−4", "−3", "−1", "0", "1"]
    assert event().data["Estimate"].tolist() == [2.5, -6.25, 1.0, -3.5, -2.0]
    assert intervals().data.loc[0].to_dict() == {
        "Comparison": "Headline", "Estimate (per cent)": -3.5, "95% low": -7.0, "95% high": 0.5, "Areas treated": 32,
        "Areas in all": 150,
    }  # fmt: skip


def test_school_years_are_labelled_as_such():
    assert series(kind="academic year").data["Period"].tolist() == ["2019/20", "2020/21", "2021/22", "2022/23"]
    labels = [tick.get_text() for tick in series(kind="academic year").canvas.axes[0].get_xticklabels()]
    assert labels == ["2019/20", "2020/21", "2021/22", "2022/23"]


def test_nothing_before_the_start_is_hidden_and_the_base_is_marked():
    axes = event().canvas.axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["before", "partly exposed", "after", "base (0 by definition)"]
    points = {
        line.get_label(): line.get_xdata().tolist() for line in axes.lines if not line.get_label().startswith("_")
    }
    assert points["before"] == [-4, -3]
    assert points["partly exposed"] == [-1]
    assert points["after"] == [0, 1]
    assert points["base (0 by definition)"] == [-2]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["−4", "−3", "−2", "−1", "0", "1"]


def test_effects_have_a_zero_line_and_the_smallest_effect_on_both_sides():
    axes = intervals().canvas.axes[0]
    upright = sorted(
        float(line.get_xdata()[0]) for line in axes.lines if len(set(np.asarray(line.get_xdata()))) == 1
        and list(line.get_ydata()) == [0, 1]
    )  # fmt: skip
    assert upright == [-5, 0, 5]


def test_groups_are_told_apart_by_marker_and_word_not_by_colour_alone():
    axes = series().canvas.axes[0]
    markers = {line.get_marker() for line in axes.lines if line.get_marker() not in ("None", "", None)}
    assert markers == {"o", "s"}
    words = " ".join(text.get_text() for text in axes.texts)
    assert "programme areas" in words
    assert "comparison areas" in words


def test_results_plot_themselves_by_event_time_or_one_a_row():
    assert plot_estimates(rows()).alt.startswith("Dot chart")
    assert plot_estimates(rows(term="overall").iloc[:2]).alt.startswith("Interval chart")
    assert plot_estimates(rows(synthetic=True)).synthetic


@pytest.mark.parametrize("make", ALL.values(), ids=ALL)
def test_colours_are_those_of_the_house(make):
    allowed = {"#12436d", "#28a197", "#801650", "#f46a25", "#3d3d3d", "#bfbfbf"}
    drawn = {to_hex(line.get_color()) for line in make().canvas.axes[0].lines if line.get_linestyle() != "None"}
    assert {colour for colour in drawn if not re.fullmatch(r"#(.)\1{5}", colour)} <= allowed
