"""Synthetic records have the published marginals, a known effect, and can't be taken for real ones."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from sendap.cells.compress import compress
from sendap.errors import UsageError
from sendap.sources.marginals import FSM, SEN, SEX, read_marginals
from sendap.sources.records import Effect, synthesise, truth_path

ROWS = 600_000


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    path = tmp_path_factory.mktemp("records") / "pupils.parquet"
    effect = Effect(base=-0.4, by_group={"sen_baseline": {"SEN": -0.5}, "sex": {"Male": 0.1}}, each_year=-0.1)
    truth = synthesise(path, ROWS, seed=5, effect=effect)
    return path, truth, pd.read_parquet(path)


@pytest.fixture(scope="module")
def untreated(tmp_path_factory, made):
    """The same pupils without the programme: the same seed and rollout, an effect of zero."""
    path = tmp_path_factory.mktemp("records") / "untreated.parquet"
    synthesise(path, ROWS, seed=5, effect=0.0)
    return pd.read_parquet(path)


def test_rows_years_and_keys(made):
    _, truth, frame = made
    assert len(frame) == ROWS == truth["rows"]
    assert frame["pupil_id"].nunique() == truth["pupils"]
    assert not frame.duplicated(["pupil_id", "year"]).any()
    assert sorted(frame["year"].unique()) == truth["years"]
    assert frame["absence"].dropna().between(0, 100).all()


def test_marginals_are_the_published_ones(made, untreated):
    _, _, frame = made
    known = read_marginals()
    pupils = frame.drop_duplicates("pupil_id")
    sizes = pupils["la_code"].value_counts(normalize=True)
    published = pd.Series(known.size / known.size.sum(), index=list(known.authorities))
    np.testing.assert_allclose(sizes.reindex(published.index), published, atol=0.0015)
    # Department for Education, 2022/23: 1,297,684 of 7,328,573 enrolments in the table had SEN.
    assert (pupils["sen_baseline"] == "SEN").mean() == pytest.approx(1_297_684 / 7_328_573, abs=0.006)
    by_sex = pupils.groupby("sex", observed=True)["sen_baseline"].apply(lambda s: (s == "SEN").mean())
    assert by_sex["Male"] == pytest.approx((331_501 + 516_508) / (848_009 + 618_237 + 2_283_558), abs=0.008)
    assert by_sex["Female"] == pytest.approx((182_633 + 267_042) / (449_675 + 722_795 + 2_406_299), abs=0.008)
    # Schools, pupils and their characteristics, 2021/22: 5,379,748 White British of 8,418,013.
    assert (pupils["ethnicity"] == "White - White British").mean() == pytest.approx(5_379_748 / 8_418_013, abs=0.006)
    assert pupils["ethnicity"].isna().mean() == pytest.approx(136_371 / 8_418_013, abs=0.003)
    # The two tables differ by a year, and so in how many are eligible for free school meals: 22% here, 25% there.
    assert untreated["absence"].mean() == pytest.approx(known.absence_mean, abs=0.25)
    mean = untreated.groupby("sen_baseline", observed=True)["absence"].mean()
    assert 2.5 < mean["SEN"] - mean["No SEN"] < 5


def test_sen_differs_by_ethnicity_as_assumed(made):
    _, _, frame = made
    pupils = frame.drop_duplicates("pupil_id")
    share = pupils.groupby("ethnicity", observed=True)["sen_baseline"].apply(lambda s: (s == "SEN").mean())
    assert share["Black - Black Caribbean"] > share["White - White British"] > share["Asian - Indian"]


def test_people_move_have_gaps_and_lack_outcomes(made):
    _, truth, frame = made
    areas = frame.groupby("pupil_id")["la_code"].nunique()
    schools = frame.groupby("pupil_id")["school_id"].nunique()
    assert 0.01 < (areas > 1).mean() < 0.1
    assert (areas > 1).mean() < (schools > 1).mean() < 0.4
    spans = frame.groupby("pupil_id")["year"].agg(["min", "max", "size"])
    assert ((spans["max"] - spans["min"] + 1) > spans["size"]).mean() > 0.01
    assert frame["absence"].isna().mean() == pytest.approx(0.0226, abs=0.003)
    assert frame.groupby("school_id")["la_code"].nunique().max() == 1
    started = frame.groupby("la_code", observed=True)["first_treated"].agg(["min", "max"])
    assert (started["min"].fillna(0) == started["max"].fillna(0)).all()
    assert truth["rollout"] == started["min"].dropna().astype(int).to_dict()


def test_truth_is_the_difference_that_the_effect_made(made, untreated):
    _, truth, frame = made
    assert frame.drop(columns="absence").equals(untreated.drop(columns="absence"))
    change = frame["absence"] - untreated["absence"]
    treated = frame["first_treated"].notna() & (frame["year"] >= frame["first_treated"])
    assert (change[~treated].dropna() == 0).all()
    happened = truth["effect_happened"]
    assert happened["overall"]["records"] == int(change[treated].count())
    assert happened["overall"]["effect"] == pytest.approx(change[treated].mean(), abs=1e-12)
    by_cell = change[treated].groupby([frame["first_treated"], frame["year"]]).agg(["mean", "count"])
    for row in happened["by_first_treated_and_year"]:
        mean, number = by_cell.loc[(row["first_treated"], row["year"])]
        assert (row["effect"], row["records"]) == (pytest.approx(mean, abs=1e-12), number)
    for group, levels in happened["by_group"].items():
        means = change[treated].groupby(frame[group], observed=True).mean()
        for level, found in levels.items():
            assert found["effect"] == pytest.approx(means[level], abs=1e-12)


def test_effects_are_those_that_were_set_where_nothing_is_cut_off(made, untreated):
    _, _, frame = made
    change = frame["absence"] - untreated["absence"]
    since = frame["year"] - frame["first_treated"]
    for sen, sex, year, expected in [("SEN", "Female", 0, -0.9), ("No SEN", "Male", 2, -0.5), ("SEN", "Male", 1, -0.9)]:
        rows = (frame["sen_baseline"] == sen) & (frame["sex"] == sex) & (since == year) & (untreated["absence"] > 2)
        assert rows.sum() > 100
        np.testing.assert_allclose(change[rows], expected, atol=1e-12)


def test_the_file_depends_on_the_seed_and_not_on_threads(tmp_path):
    files = [tmp_path / f"{name}.parquet" for name in ("one", "four", "other")]
    truths = [
        synthesise(path, 700_000, seed=s, threads=t) for path, s, t in zip(files, (1, 1, 2), (1, 4, 4), strict=True)
    ]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert truths[0] == truths[1]
    assert files[0].read_bytes() != files[2].read_bytes()


def test_a_shorter_file_is_the_beginning_of_a_longer_one(tmp_path, made):
    _, _, frame = made
    effect = Effect(base=-0.4, by_group={"sen_baseline": {"SEN": -0.5}, "sex": {"Male": 0.1}}, each_year=-0.1)
    truth = synthesise(tmp_path / "short.parquet", 1000, seed=5, effect=effect)
    short = pd.read_parquet(tmp_path / "short.parquet")
    pd.testing.assert_frame_equal(short, frame[:1000])
    treated = short["first_treated"].notna() & (short["year"] >= short["first_treated"]) & short["absence"].notna()
    assert truth["effect_happened"]["overall"]["records"] == int(treated.sum())
    assert truth["pupils"] == short["pupil_id"].nunique()


def test_everything_says_that_it_is_synthetic(made):
    path, truth, _ = made
    mark = json.loads(pq.read_schema(path).metadata[b"sendap"])
    assert mark["synthetic"] is True
    assert truth["synthetic"] is True
    assert json.loads(truth_path(path).read_text()) == truth
    cells = compress(path, unit="pupil_id", outcomes=["absence"], strata=["sex"])
    assert cells.synthetic is True
    assert cells.metadata["sources"][0]["rows"] == ROWS


def test_a_two_by_two_from_cells_finds_the_effect(tmp_path):
    codes = read_marginals().authorities
    path = tmp_path / "r.parquet"
    truth = synthesise(path, 400_000, seed=3, effect=-2.0, rollout=dict.fromkeys(codes[::2], 2022), years=[2021, 2022])
    frame = compress(path, outcomes=["absence"]).frame
    treated = frame["cohort"].notna().rename("treated")
    sums = frame.groupby([treated, "period"])[["sum", "weight"]].sum()
    mean = (sums["sum"] / sums["weight"]).unstack()
    found = (mean.loc[True, 2022] - mean.loc[True, 2021]) - (mean.loc[False, 2022] - mean.loc[False, 2021])
    # The standard error of this difference is some 0.06 for 400,000 pupil-years.
    assert found == pytest.approx(truth["effect_happened"]["overall"]["effect"], abs=0.25)
    assert truth["effect_happened"]["overall"]["effect"] > -2.0  # some absences end at zero


def test_progress_counts_rows(tmp_path):
    seen = []
    synthesise(tmp_path / "r.parquet", 500_000, seed=1, progress=lambda done, wanted: seen.append((done, wanted)))
    assert seen[-1] == (500_000, 500_000)
    assert len(seen) > 1


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"rows": 0}, "at least 1"),
        ({"years": [2020, 2022]}, "follow each other"),
        ({"rollout": {"E99": 2022}}, "isn't a current authority"),
        ({"rollout": {"E06000001": 2018}}, "expected a year after the first"),
        ({"effect": Effect(1.0, {"sx": {}})}, "Did you mean 'sex'"),
        ({"effect": Effect(1.0, {"sex": {"Mal": 1.0}})}, "Did you mean 'Male'"),
    ],
)
def test_impossible_requests_are_refused(tmp_path, changes, words):
    with pytest.raises(UsageError, match=words):
        synthesise(tmp_path / "r.parquet", **{"rows": 100, "seed": 1, **changes})
    assert list(tmp_path.iterdir()) == []


def test_shares_of_sen_average_to_the_published_ones():
    known = read_marginals()
    assert known.absence.shape == (len(SEN), len(FSM), len(SEX), known.absence.shape[3])
    assert (np.diff(known.absence) >= 0).all()
    assert len(known.authorities) == 153
    assert known.size.sum() == 8_418_013
