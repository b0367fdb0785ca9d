"""What a pilot's evaluation promises, typed, read from ``analysis/<pilot>/protocol.yaml``.

A protocol is reviewed like code. It says who is treated and compared, which outcomes count for what, what
harm is looked for and how large an effect would matter, before anybody looks at a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError, model_validator

from sendap.catalog import Break, Catalog, Dataset, Described, Series, explain, read_yaml
from sendap.errors import Problems, ProtocolError, SendapError, UsageError, did_you_mean
from sendap.files import fingerprint
from sendap.periods import Period

Family = Literal["primary", "secondary", "guard", "exploratory", "description"]
Headline = Literal["group_time", "group_time_lagged", "none"]
Alternative = Literal[
    "two_way",
    "event_study",
    "two_by_two",
    "imputation",
    "two_stage",
    "sun_abraham",
    "extended_two_way",
    "stacked",
    "local_projections",
    "synthetic_did",
]

YEARS_BEFORE = 6
LAST_YEAR = 2024
"""Records are expected from six years before the first start to the year that starts in 2024."""


class Guard(Described):
    """A harm that is looked for: the concern, who raised it where, and the margin that would still be borne."""

    concern: str
    basis: Literal["stated", "ours"]
    paragraph: str
    harm_if: Literal["rises", "falls"]
    margin: float = Field(gt=0)
    reason: str


class Outcome(Described):
    id: str = Field(pattern=r"^[a-z][a-z0-9_]*$")
    dataset: str
    series: str
    name: str
    counted: str | None = None
    better: Literal["higher", "lower", "neither"]
    family: Family
    population: str
    why: str
    smallest_effect: float | None = Field(default=None, gt=0)
    guard: Guard | None = None
    current_sen_population: bool = False
    first_period: int | None = None

    @property
    def heading(self) -> str:
        """The name as it stands alone: without its article, with a capital."""
        text = self.name.removeprefix("the ")
        return text[0].upper() + text[1:]

    @model_validator(mode="after")
    def family_fits(self) -> Outcome:
        if (self.family == "guard") != (self.guard is not None):
            raise ValueError(f"outcome '{self.id}': a guard needs 'guard' with its margin, and only a guard has one")
        if self.family in ("primary", "secondary") and self.smallest_effect is None:
            raise ValueError(f"outcome '{self.id}': a {self.family} outcome needs 'smallest_effect'")
        if self.current_sen_population and self.family != "exploratory":
            raise ValueError(
                f"outcome '{self.id}': its population is pupils with SEN now, which the programme may change, so it "
                "can only be exploratory"
            )
        return self


class Exclusion(Described):
    la_code: str
    reason: str


class Comparison(Described):
    rule: str
    control: Literal["never", "not_yet"]
    within: Literal["region"] | None = None
    exclude: tuple[Exclusion, ...] = ()


class Exposed(Described):
    """From when an area counts as treated.

    A period counts as after when at least half its months lie after the start and the programme has run for
    ``minimum_months`` by its end; as before when it ends ``anticipation_months`` before the start; else as
    partly exposed, and it's neither.
    """

    minimum_months: int = Field(default=6, ge=0)
    anticipation_months: int = Field(default=0, ge=0)
    reason: str


class Supply(Described):
    """What a user must supply where nobody has published who took part, and what synthetic records assume meanwhile.

    ``list`` says in words which list is needed. It goes into the data folder as ``rollouts/<pilot>.csv``.
    ``treated`` and ``controls`` are numbers of clusters, ``starts`` the months in which equal shares of them start;
    they are planning numbers, not facts.
    """

    list: str
    treated: int = Field(ge=1)
    controls: int = Field(ge=1)
    starts: tuple[Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")], ...] = Field(min_length=1)

    @property
    def years(self) -> range:
        """The years that records are expected to hold: those of the synthetic ones."""
        return range(int(min(self.starts)[:4]) - YEARS_BEFORE, LAST_YEAR + 1)


class Deviation(Described):
    """A change of the protocol: the six things that the evaluation standard (5.5) asks of it, but for the result under
    both, which the report computes.

    ``said`` and ``done`` in words; ``agreed``: by whom; ``known``: before or after outcomes were seen. ``was`` names
    the headline estimator that was replaced, where it was one.
    """

    decided: date
    said: str
    done: str
    why: str
    known: Literal["before outcomes were seen", "after outcomes were seen"]
    agreed: str
    was: Literal["group_time", "group_time_lagged"] | None = None


class Disparity(Described):
    question: str
    strata: tuple[str, ...]

    @model_validator(mode="after")
    def always(self) -> Disparity:
        missing = {"place", "sex", "ethnicity"} - set(self.strata)
        if missing:
            raise ValueError(
                f"disparity.strata must hold place, sex and ethnicity; missing: {', '.join(sorted(missing))}"
            )
        return self


class Protocol(Described):
    """One pilot's evaluation. A descriptive one says ``why_no_effect`` and has no comparison and no exposure."""

    id: str
    name: str
    group: str
    evaluable: Literal["causal", "weak", "descriptive"]
    status: str
    seed_references: tuple[str, ...]
    question: str
    theory_of_change: tuple[str, str, str]
    cluster: str
    cluster_column: str = "la_code"
    programme: str
    stands_in: str = ""
    supply: Supply | None = None
    reach: str
    assignment: str
    comparison: Comparison | None = None
    exposure: Exposed | None = None
    weights: Literal["areas", "children"] = "areas"
    design: str
    headline: Headline
    alternatives: tuple[Alternative, ...] = ()
    why_no_effect: str = ""
    inference_class: str
    outcomes: tuple[Outcome, ...]
    not_yet_measured: tuple[str, ...] = ()
    disparity: Disparity
    breaks_crossed: tuple[str, ...]
    overlaps: tuple[str, ...]
    disclosure_profile: str
    cost: str
    unknowns: tuple[str, ...]
    next_steps: str
    registered: bool = False
    deviations: tuple[Deviation, ...] = ()
    seed: int = 20230902
    draws: int = Field(default=1999, ge=199)

    @property
    def descriptive(self) -> bool:
        return self.evaluable == "descriptive"

    @model_validator(mode="after")
    def effect_or_none(self) -> Protocol:
        if self.descriptive:
            wrong = [outcome.id for outcome in self.outcomes if outcome.family != "description"]
            if wrong:
                raise ValueError(f"outcome '{wrong[0]}': evaluable is descriptive, so its family must be description")
            if not self.why_no_effect or self.headline != "none":
                raise ValueError("evaluable is descriptive: say why in 'why_no_effect', and set headline to none")
            return self
        if self.headline == "none" or self.comparison is None or self.exposure is None:
            raise ValueError(
                f"evaluable is {self.evaluable}: give 'comparison', 'exposure' and an estimator in 'headline'"
            )
        if any(outcome.family == "description" for outcome in self.outcomes):
            raise ValueError("family description is for descriptive protocols: use exploratory")
        return self

    @model_validator(mode="after")
    def one_primary(self) -> Protocol:
        primary = [outcome.id for outcome in self.outcomes if outcome.family == "primary"]
        if len(primary) != 1 and not self.descriptive:
            raise ValueError(f"there must be one primary outcome, found {len(primary)}: {', '.join(primary) or 'none'}")
        ids = [outcome.id for outcome in self.outcomes]
        repeated = {name for name in ids if ids.count(name) > 1}
        if repeated:
            raise ValueError(f"outcome '{sorted(repeated)[0]}' is there twice")
        return self

    @property
    def primary(self) -> Outcome:
        """The primary outcome; where only others can be measured (see ``keeping``), the first of them."""
        return next((outcome for outcome in self.outcomes if outcome.family == "primary"), self.outcomes[0])

    @property
    def has_primary(self) -> bool:
        return any(outcome.family == "primary" for outcome in self.outcomes)

    def keeping(self, ids: Iterable[str]) -> Protocol:
        """The same protocol, with the same hash, for those of its outcomes whose data are there."""
        wanted = set(ids)
        kept = self.model_copy(update={"outcomes": tuple(each for each in self.outcomes if each.id in wanted)})
        # What was promised doesn't change with what can be read today.
        kept.__dict__["digest"] = self.digest
        return kept

    @cached_property
    def digest(self) -> str:
        """Hash of the canonical content: comments, order of keys and line breaks don't matter."""
        return fingerprint(self.model_dump(mode="json"))

    def outcome(self, outcome_id: str) -> Outcome:
        for outcome in self.outcomes:
            if outcome.id == outcome_id:
                return outcome
        raise ProtocolError(
            f"{self.id} has no outcome '{outcome_id}'.{did_you_mean(outcome_id, [each.id for each in self.outcomes])}"
        )


def protocol_path(analysis: Path, pilot: str) -> Path:
    path = analysis / pilot.lower() / "protocol.yaml"
    if not path.is_file():
        known = sorted(folder.parent.name.upper() for folder in analysis.glob("*/protocol.yaml"))
        raise UsageError(f"There is no pilot '{pilot}'.{did_you_mean(pilot.upper(), known)}")
    return path


def known_pilots(analysis: Path) -> list[str]:
    """Every pilot with a protocol, in the order of the folders."""
    return sorted(folder.parent.name.upper() for folder in analysis.glob("*/protocol.yaml"))


def read_protocol(analysis: Path, pilot: str) -> Protocol:
    """Read and check one protocol.

    Raises UsageError for an unknown pilot, and Problems listing everything wrong in the file at once.
    """
    path = protocol_path(analysis, pilot)
    content = read_yaml(path)
    where = f"analysis/{path.parent.name}/{path.name}"
    try:
        protocol = Protocol.model_validate(content)
    except ValidationError as error:
        raise Problems(f"The protocol of {pilot.upper()} can't be used:", explain(error, where)) from None
    if protocol.id.lower() != path.parent.name:
        raise ProtocolError(f"{where}: id '{protocol.id}' doesn't match its folder '{path.parent.name}'.")
    return protocol


def series_of(catalog: Catalog, outcome: Outcome) -> tuple[Dataset, Series]:
    dataset = catalog.dataset(outcome.dataset)
    return dataset, dataset.find_series(outcome.series)


def breaks_between(catalog: Catalog, outcome: Outcome, periods: Iterable[int]) -> dict[str, Break]:
    """Breaks that fall inside the months in which an outcome's known ``periods`` are measured, by id.

    A break falls inside where a month of some period lies before it, and a month of some period in it or after. It
    counts where it touches the source of the series, all published series by area, or the ethnic groups of records.
    """
    dataset, series = series_of(catalog, outcome)
    touched = {dataset.source_of(series)} - {""}
    if dataset.records is None:
        touched.add("areas")
    elif "ethnicity" in dataset.records.strata:
        touched.add("ethnic groups")
    windows = [Period(series.period_kind, year).window(series.measured) for year in periods]
    if not windows:
        return {}
    first, last = min(opens for opens, _ in windows), max(closes for _, closes in windows)
    return {
        name: each
        for name, each in catalog.breaks.items()
        if (touched.intersection(each.touches) or name in series.breaks) and first < each.month <= last
    }


def undeclared_breaks(protocol: Protocol, catalog: Catalog, periods: Mapping[str, Iterable[int]]) -> list[str]:
    """Breaks inside the windows of the data that a protocol doesn't declare, as sentences. ``periods`` by outcome."""
    found: dict[str, list[str]] = {}
    for outcome in protocol.outcomes:
        for name in breaks_between(catalog, outcome, periods.get(outcome.id, ())):
            if name not in protocol.breaks_crossed:
                found.setdefault(name, []).append(outcome.id)
    where = f"analysis/{protocol.id.lower()}/protocol.yaml, breaks_crossed"
    return [
        f"{where} doesn't declare '{name}', which falls inside the data of {outcomes[0]}"
        + (f" and {len(outcomes) - 1} more" if len(outcomes) > 1 else "")
        + f" (from {catalog.breaks[name].month.words}): {catalog.breaks[name].what} Add it to the list."
        for name, outcomes in sorted(found.items())
    ]


def problems_with(protocol: Protocol, catalog: Catalog) -> list[str]:
    """Everything in a protocol that the catalogue can't support, as sentences."""
    found: list[str] = []
    treated: set[str] = set()
    if protocol.programme in catalog.rollouts:
        treated = {area.la_code for area in catalog.rollout(protocol.programme).areas}
    elif protocol.supply is None and not protocol.descriptive:
        found.append(
            f"programme: there is no rollout of '{protocol.programme}'."
            f"{did_you_mean(protocol.programme, catalog.rollouts)} Where nobody has published one, say in 'supply' "
            "what the user must supply."
        )
    current = {area.la_code for area in catalog.places.current}
    for excluded in protocol.comparison.exclude if protocol.comparison else ():
        if excluded.la_code not in current:
            found.append(
                f"comparison.exclude: there is no area with the code '{excluded.la_code}' today."
                f"{did_you_mean(excluded.la_code, current)}"
            )
        elif excluded.la_code in treated:
            found.append(
                f"comparison.exclude: {excluded.la_code} is a treated area of {protocol.programme}, and only "
                f"comparison "
                "areas can be excluded. Take it out of one of the two lists."
            )
    crossed: set[str] = set()
    for outcome in protocol.outcomes:
        try:
            dataset, series = series_of(catalog, outcome)
        except SendapError as error:
            found.append(f"outcome '{outcome.id}': {error}")
            continue
        crossed.update(series.breaks)
        if dataset.to_confirm:
            found.append(
                f"dataset '{dataset.id}' is a draft: confirm each line of to_confirm in "
                f"data-catalog/datasets/{dataset.id}.yaml, then remove it."
            )
        if dataset.records is not None and protocol.supply is not None:
            crossed.update(breaks_between(catalog, outcome, protocol.supply.years))
        if dataset.records is not None and protocol.cluster_column not in dataset.records.clusters:
            found.append(
                f"outcome '{outcome.id}': dataset '{dataset.id}' can't be clustered by '{protocol.cluster_column}'."
                f"{did_you_mean(protocol.cluster_column, dataset.records.clusters)} It has: "
                f"{', '.join(dataset.records.clusters)}."
            )
    for name in sorted(crossed - set(protocol.breaks_crossed)):
        what = catalog.breaks[name].what if name in catalog.breaks else "not in data-catalog/breaks.yaml"
        found.append(f"breaks_crossed doesn't declare '{name}', which an outcome crosses: {what} Add it to the list.")
    for name in sorted(set(protocol.breaks_crossed) - set(catalog.breaks)):
        found.append(f"breaks_crossed: there is no break '{name}'.{did_you_mean(name, catalog.breaks)}")
    return [f"analysis/{protocol.id.lower()}/protocol.yaml, {text}" for text in dict.fromkeys(found)]
