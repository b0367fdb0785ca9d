"""The table of methods by treated and untreated clusters: what leads, what stands beside it, what is refused."""

from __future__ import annotations

import numpy as np
import pytest
from panels import as_cells, made_up
from scipy import stats

from sendap import effects
from sendap.errors import UsageError
from sendap.estimators import fit_group_time, fit_two_way
from sendap.inference import explain, infer
from sendap.inference.cluster_robust import crv2
from sendap.inference.selector import METHODS, WORDS, choose

T_TESTS = {"crv1", "crv2", "crv3", "wcr", "wcu"}


def one_start(treated: int, controls: int, **options):
    areas = treated + controls
    given = {"starts": (2019.0,), "regions": 1, "years": 4, **options}
    return made_up(areas=areas, share_treated=treated / areas, **given)


@pytest.mark.parametrize(
    ("treated", "controls", "headline", "second", "refused"),
    [
        (1, 60, "permutation", ("hagemann", "ferman_pinto", "conley_taber"), T_TESTS),
        (1, 8, "permutation", ("hagemann", "ferman_pinto", "conley_taber"), T_TESTS),
        (2, 60, "permutation", ("ferman_pinto", "conley_taber"), T_TESTS | {"hagemann"}),
        (5, 60, "permutation", ("ferman_pinto", "conley_taber"), T_TESTS | {"hagemann"}),
        (5, 12, "permutation", (), T_TESTS | {"hagemann", "ferman_pinto", "conley_taber"}),
        (1, 4, "permutation", (), T_TESTS | {"hagemann", "ferman_pinto", "conley_taber"}),
        (6, 60, "crv3", ("permutation", "ferman_pinto", "wcr"), {"crv1", "hagemann"}),
        (12, 60, "crv3", ("permutation", "ferman_pinto", "wcr"), {"crv1", "hagemann"}),
        (13, 60, "crv3", ("permutation", "wcr", "crv1"), {"hagemann"}),
        (40, 60, "crv3", ("permutation", "wcr", "crv1"), {"hagemann"}),
        (41, 41, "crv1", ("crv3", "permutation", "wcr"), {"hagemann"}),
        # The same with few untreated clusters, whose series then say too little about errors.
        (60, 4, "permutation", (), T_TESTS | {"hagemann", "ferman_pinto", "conley_taber"}),
        (60, 12, "crv3", ("permutation", "wcr"), {"crv1", "hagemann", "ferman_pinto", "conley_taber"}),
        (60, 16, "crv3", ("permutation", "wcr", "crv1"), {"hagemann"}),
        (0, 60, "none", (), set(METHODS)),
    ],
)
def test_the_table_of_methods(treated, controls, headline, second, refused):
    choice = choose(treated, controls)
    assert (choice.headline, choice.second, set(choice.refused)) == (headline, second, refused)
    assert all(choice.reason(method) for method in refused)
    assert not set(second) & refused


def test_few_effective_clusters_refuse_crv1():
    assert "crv1" in choose(30, 60, 19.9).refused
    assert "crv1" not in choose(30, 60, 19.9).second
    assert "crv1" in choose(30, 60, 20.0).second
    assert choose(60, 60, 10.0).headline == "crv1"


def test_the_sentence_says_what_why_and_what_not():
    text = choose(3, 40).sentence()
    assert text.startswith("Only 3 treated clusters: ")
    assert "The headline method is permutation." in text
    assert f"Beside it: {WORDS['ferman_pinto']} and {WORDS['conley_taber']}." in text
    assert "Not valid here, so not used: cluster-robust (CRV1), " in text
    assert "Beside it" not in choose(3, 40).sentence(())
    assert "Not valid here" not in choose(30, 60).sentence()
    assert choose(0, 4).sentence() == "There is no treated cluster."


@pytest.mark.parametrize(("treated", "shown"), [(1, 4), (3, 3), (8, 4)])
def test_results_hold_the_headline_and_all_methods_beside_it(treated, shown):
    found = effects.two_way(as_cells(one_start(treated, 40, counts=True)), draws=199).frame
    choice = choose(treated, 40)
    assert list(found["inference"]) == [choice.headline, *choice.second]
    assert len(found) == shown
    assert found["headline"].tolist() == [True] + [False] * (shown - 1)
    assert (found["status"] == "ok").all()
    assert (found["ci_low"] < found["ci_high"]).all()
    (row,) = explain(found).to_dict("records")
    assert row["second"] == choice.second
    assert row["refused"] == choice.refused
    assert row["sentence"] == choice.sentence()


def test_methods_by_name():
    cells = as_cells(one_start(8, 40, counts=True))
    for method in ("crv2", "crv3", "wcr", "wcu", "permutation", "conley_taber", "ferman_pinto"):
        row = effects.two_way(cells, inference=method, draws=199).frame.iloc[0]
        assert (row["inference"], row["headline"], row["status"]) == (method, True, "ok")
        assert row["ci_low"] < row["estimate"] < row["ci_high"]
    named = effects.two_way(cells, inference="crv2")
    variance, dof = crv2(fit_two_way(cells.panel()))
    assert named.frame["std_error"].iloc[0] == pytest.approx(np.sqrt(variance[0]), rel=1e-12)
    assert named.frame["dof"].iloc[0] == pytest.approx(dof[0], rel=1e-12)
    half = stats.t.ppf(0.975, dof[0]) * np.sqrt(variance[0])
    assert (named.frame["ci_high"] - named.frame["estimate"]).iloc[0] == pytest.approx(half, rel=1e-9)
    asked = explain(named).iloc[0]
    assert asked["headline"] == "crv2"
    assert asked["sentence"].endswith("The headline method was asked for by name.")
    single = as_cells(one_start(1, 40))
    assert effects.two_way(single, inference="hagemann").frame["inference"].tolist() == ["hagemann"]


@pytest.mark.parametrize(
    ("treated", "controls", "method", "reason"),
    [
        (4, 40, "crv2", "With 4 treated clusters this test rejects far too often"),
        (8, 40, "crv1", "its standard error is too small"),
        (8, 40, "hagemann", "for a single treated cluster; here are 8"),
        (2, 10, "conley_taber", "With 10 untreated clusters"),
        (1, 4, "ferman_pinto", "It needs 5 untreated clusters; here are 4"),
    ],
)
def test_refused_methods_say_why_and_what_to_do(treated, controls, method, reason):
    with pytest.raises(UsageError, match=rf"'{method}' isn't valid here.*{reason}.*Use inference='auto'"):
        effects.two_way(as_cells(one_start(treated, controls)), inference=method)


@pytest.mark.parametrize("method", ["crv2", "wcr", "wcu"])
def test_methods_of_least_squares_are_refused_elsewhere(method):
    with pytest.raises(UsageError, match="for least squares only.*Use two_way or event_study"):
        effects.group_time(as_cells(one_start(8, 40)), inference=method)


def test_a_named_method_leaves_terms_with_too_few_clusters_without_an_interval():
    cells = as_cells(one_start(8, 40, starts=(2018.0, 2019.0)))
    found = effects.group_time(cells, inference="crv3").frame
    few = found["treated_clusters"] <= 5
    assert few.any()
    assert not few.all()
    assert (found.loc[few, "status"] == "not_estimable").all()
    assert found.loc[few, "ci_low"].isna().all()
    assert found.loc[few, "note"].str.contains("With 4 treated clusters this test rejects far too often").all()
    assert found.loc[~few, "ci_low"].notna().all()


def test_equal_or_unknown_sizes_make_it_conley_and_taber_and_say_so():
    panel = as_cells(one_start(3, 40)).panel()
    fit = fit_two_way(panel)
    rows = infer(fit, draws=199).frame.set_index("inference")
    assert "All clusters have the same size" in rows.loc["ferman_pinto", "note"]
    assert rows.loc["ferman_pinto", "p_value"] == rows.loc["conley_taber", "p_value"]
    frame = one_start(3, 40)
    frame["n"] = np.where(frame["area"].str[-1].astype(int) % 2, 20, 2000)
    frame["y"] += np.random.default_rng(1).normal(size=len(frame)) * 200 / np.sqrt(frame["n"])
    sized = infer(fit_two_way(as_cells(frame).panel()), draws=199).frame.set_index("inference")
    assert "same size" not in sized.loc["ferman_pinto", "note"]
    assert sized.loc["ferman_pinto", "ci_low"] != sized.loc["conley_taber", "ci_low"]


def test_few_untreated_clusters_are_named_beside_a_residual_test():
    rows = effects.two_way(as_cells(one_start(5, 16)), draws=199).frame.set_index("inference")
    assert "With 16 untreated clusters this test rejects somewhat too often." in rows.loc["conley_taber", "note"]
    many = effects.two_way(as_cells(one_start(5, 45)), draws=199).frame.set_index("inference")
    assert many.loc["conley_taber", "note"] == ""


def test_regions_that_leave_one_way_to_deal_starts_are_left_for_all_of_them():
    # Every region has treated or untreated areas only, so there is one way to deal the starts out inside them.
    fit = fit_group_time(as_cells(one_start(8, 40)).panel())
    regions = np.isinf(fit.panel.cluster_cohort).astype(int)
    rows = infer(fit, regions=regions, only=("overall",), draws=199).frame.set_index("inference")
    assert rows.loc["permutation", "status"] == "ok"
    assert "over all regions: inside them there are only 1 ways" in rows.loc["permutation", "note"]
    assert rows["headline"].to_dict() == {"crv3": True, "permutation": False, "ferman_pinto": False}
