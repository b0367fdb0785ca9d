"""A protocol that promises too little, too much, or something that doesn't exist is refused, all problems at once."""

from __future__ import annotations

import pytest
import yaml

from sendap.errors import Problems, ProtocolError, UsageError
from sendap.protocol import Protocol, known_pilots, problems_with, read_protocol


@pytest.fixture
def content(checkout):
    """The protocol of the Change Programme as plain content, to be changed."""
    return yaml.safe_load((checkout / "analysis" / "cp" / "protocol.yaml").read_text(encoding="utf-8"))


def outcome(content, name):
    return next(each for each in content["outcomes"] if each["id"] == name)


def refused(content):
    with pytest.raises(ValueError) as caught:
        Protocol.model_validate(content)
    return str(caught.value)


def test_every_protocol_fits_the_catalogue(workspace):
    assert {"CP", "SV"} <= set(known_pilots(workspace.analysis))
    for pilot in known_pilots(workspace.analysis):
        assert problems_with(read_protocol(workspace.analysis, pilot), workspace.catalog) == []


def test_a_pilot_is_found_whatever_its_case(workspace):
    assert read_protocol(workspace.analysis, "cp").id == "CP"


def test_each_protocol_has_one_primary_and_every_guard_a_margin(workspace):
    for pilot, primary in (("CP", "plans_within_20_weeks_all"), ("SV", None)):
        protocol = read_protocol(workspace.analysis, pilot)
        assert [each.family for each in protocol.outcomes].count("primary") == 1
        if primary:
            assert protocol.primary.id == primary
        guards = [each for each in protocol.outcomes if each.family == "guard"]
        assert guards
        assert all(each.guard.margin > 0 for each in guards)
        assert {"place", "sex", "ethnicity"} <= set(protocol.disparity.strata)


def test_an_outcome_stands_alone_without_its_article(workspace):
    assert read_protocol(workspace.analysis, "CP").primary.heading == "Share of new EHC plans issued within 20 weeks"


def test_two_primaries_are_refused_by_name(content):
    second = outcome(content, "plans_within_20_weeks")
    second["family"] = "primary"
    assert "there must be one primary outcome, found 2: plans_within_20_weeks_all, plans_within_20_weeks" in refused(
        content
    )


def test_no_primary_is_refused(content):
    outcome(content, "plans_within_20_weeks_all")["family"] = "secondary"
    assert "there must be one primary outcome, found 0: none" in refused(content)


def test_an_outcome_listed_twice_is_refused(content):
    content["outcomes"].append(dict(outcome(content, "appeal_rate")))
    assert "outcome 'appeal_rate' is there twice" in refused(content)


@pytest.mark.parametrize("family", ["primary", "secondary"])
def test_a_population_of_pupils_with_sen_now_can_only_be_exploratory(content, family):
    found = outcome(content, "absence_special")
    found.update(family=family, smallest_effect=1.0)
    assert "outcome 'absence_special': its population is pupils with SEN now" in refused(content)


@pytest.mark.parametrize("family", ["primary", "secondary"])
def test_an_effect_that_is_judged_needs_its_smallest_size(content, family):
    if family == "primary":
        outcome(content, "plans_within_20_weeks_all").pop("smallest_effect")
    else:
        outcome(content, "appeal_rate").pop("smallest_effect")
    assert f"a {family} outcome needs 'smallest_effect'" in refused(content)


def test_a_guard_needs_its_margin_and_only_a_guard_has_one(content):
    margin = outcome(content, "requests_refused").pop("guard")
    assert "outcome 'requests_refused': a guard needs 'guard' with its margin" in refused(content)
    outcome(content, "requests_refused")["guard"] = margin
    outcome(content, "appeal_rate")["guard"] = margin
    assert "outcome 'appeal_rate': a guard needs 'guard' with its margin, and only a guard has one" in refused(content)


@pytest.mark.parametrize("margin", [0, -3])
def test_a_margin_that_is_not_above_zero_is_refused(content, margin):
    outcome(content, "requests_refused")["guard"]["margin"] = margin
    assert "greater than 0" in refused(content)


@pytest.mark.parametrize("gone", ["place", "sex", "ethnicity"])
def test_place_sex_and_ethnicity_are_always_asked_for(content, gone):
    content["disparity"]["strata"].remove(gone)
    assert f"disparity.strata must hold place, sex and ethnicity; missing: {gone}" in refused(content)


def test_everything_wrong_in_the_file_is_said_at_once_by_file_and_field(home, replace_in):
    path = home / "analysis" / "cp" / "protocol.yaml"
    replace_in(path, "control: never", "control: sometimes")
    replace_in(path, "\ndesign: ", "\ndesing: ")
    replace_in(path, "minimum_months: 6", "minimum_months: -1")
    with pytest.raises(Problems) as caught:
        read_protocol(home / "analysis", "CP")
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    assert "analysis/cp/protocol.yaml: comparison, control: should be 'never' or 'not_yet', found 'sometimes'" in text
    assert "analysis/cp/protocol.yaml: design: is missing, and must be given" in text
    assert "analysis/cp/protocol.yaml: desing: isn't a known key" in text
    assert "analysis/cp/protocol.yaml: exposure, minimum_months: should be greater than or equal to 0, found -1" in text


def test_a_protocol_in_the_wrong_folder_is_refused(home, replace_in):
    replace_in(home / "analysis" / "cp" / "protocol.yaml", "id: CP\n", "id: SV\n")
    with pytest.raises(ProtocolError, match=r"analysis/cp/protocol\.yaml: id 'SV' doesn't match its folder 'cp'"):
        read_protocol(home / "analysis", "CP")


def test_an_unknown_pilot_is_wrong_use_and_is_answered_with_the_nearest(workspace):
    with pytest.raises(UsageError, match=r"There is no pilot 'CPP'\. Did you mean 'CP'\?"):
        read_protocol(workspace.analysis, "CPP")


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda c: c.update(programme="CQ"), r"programme: there is no rollout of 'CQ'"),
        (
            lambda c: c["breaks_crossed"].remove("sen2_person_level"),
            r"breaks_crossed doesn't declare 'sen2_person_level'",
        ),
        (lambda c: c["breaks_crossed"].append("brexit"), r"breaks_crossed: there is no break 'brexit'"),
        (
            lambda c: outcome(c, "appeal_rate").update(series="appeals_rate"),
            r"outcome 'appeal_rate': Dataset .* has no series 'appeals_rate'\. Did you mean 'appeal_rate'",
        ),
        (
            lambda c: outcome(c, "appeal_rate").update(dataset="tribunal"),
            r"outcome 'appeal_rate': There is no dataset 'tribunal'",
        ),
        (
            lambda c: c["comparison"]["exclude"].append({"la_code": "E0", "reason": "r"}),
            r"comparison\.exclude: there is no area with the code 'E0'",
        ),
        (
            # Data are joined by today's code: an old one would quietly exclude nobody.
            lambda c: c["comparison"]["exclude"].append({"la_code": "E10000002", "reason": "r"}),
            r"comparison\.exclude: there is no area with the code 'E10000002' today",
        ),
        (
            lambda c: c["comparison"]["exclude"].append({"la_code": "E09000003", "reason": "r"}),
            r"comparison\.exclude: E09000003 is a treated area of CP",
        ),
    ],
)
def test_what_the_catalogue_cannot_support_is_one_sentence_that_names_the_protocol(content, catalog, change, expected):
    change(content)
    found = problems_with(Protocol.model_validate(content), catalog)
    assert len(found) == 1
    assert found[0].startswith("analysis/cp/protocol.yaml, ")
    import re

    assert re.search(expected, found[0])


def test_an_unknown_programme_does_not_hide_other_problems(content, catalog):
    content["programme"] = "CQ"
    content["breaks_crossed"].append("brexit")
    assert len(problems_with(Protocol.model_validate(content), catalog)) == 2


def test_the_digest_ignores_the_order_of_keys_and_feels_every_change(content):
    first = Protocol.model_validate(content).digest
    assert Protocol.model_validate(dict(reversed(list(content.items())))).digest == first
    content["seed"] = 1
    assert Protocol.model_validate(content).digest != first


def test_an_outcome_is_found_by_its_id_or_refused_with_the_nearest(workspace):
    protocol = read_protocol(workspace.analysis, "CP")
    assert protocol.outcome("appeal_rate").family == "secondary"
    with pytest.raises(ProtocolError, match=r"CP has no outcome 'apeal_rate'\. Did you mean 'appeal_rate'"):
        protocol.outcome("apeal_rate")
