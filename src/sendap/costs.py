"""What a pilot costs and whether it's worth it: real prices, present values, cost per child, cost-effectiveness.

Sources: HM Treasury, The Green Book (2026) for discount rates; Fieller (1954, "Some problems in interval estimation",
Journal of the Royal Statistical Society B 16) and Willan and O'Brien (1996, Health Economics 5) for the interval of the
ratio; Stinnett and Mullahy (1998, Medical Decision Making 18) for net monetary benefit; van Hout, Al, Gordon and Rutten
(1994, Health Economics 3) for acceptability curves; the Education Endowment Foundation's cost ratings.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd
from pydantic import Field, model_validator
from scipy import stats

from sendap.described import Described
from sendap.errors import DesignError, UsageError

Payer = Literal["Dedicated Schools Grant", "local authority", "NHS", "families", "Department for Education", "other"]
What = Literal[
    "set-up", "delivery", "training", "local authority time", "NHS time", "family time", "travel", "transfer"
]
Rates = Literal["standard", "health", "sensitivity"]

RATES: Mapping[Rates, tuple[tuple[int, float], ...]] = {
    "standard": ((30, 0.035), (75, 0.03), (125, 0.025)),
    "health": ((30, 0.015), (75, 0.0129), (125, 0.0107)),
    "sensitivity": ((30, 0.03), (75, 0.0257), (125, 0.0214)),
}
"""Last year and yearly rate; "sensitivity" is the Green Book's extra run for horizons over 50 years."""

BANDS = ((80.0, "very low"), (200.0, "low"), (700.0, "moderate"), (1200.0, "high"))
BAND_YEARS = 3
RATED = ("Moderate", "High")


class CostItem(Described):
    """Pounds spent in one year, over and above usual practice.

    ``amount`` is at the prices of ``prices`` (by default of the year itself). ``lasts``: years over which a set-up or
    training is used, so that a part is counted each year. A "transfer" moves money without using anything up.
    """

    what: What
    description: str
    payer: Payer
    year: int = Field(ge=2000, le=2100)
    amount: float
    prices: int | None = Field(default=None, ge=2000, le=2100)
    lasts: int = Field(default=1, ge=1)
    source: str

    @model_validator(mode="after")
    def only_what_lasts_is_spread(self) -> CostItem:
        if self.lasts > 1 and self.what not in ("set-up", "training"):
            raise ValueError(f"'{self.description}': only a set-up or training lasts more than a year")
        return self


class Costs(Described):
    """What a pilot cost, who paid, and for how many children.

    ``base_year`` is the first year (year 0, not discounted) and ``price_year`` the prices of results. ``deflators``
    give the GDP deflator by year, from any base, with their source; needed where prices differ. ``children`` by year
    are those reached.
    """

    base_year: int = Field(ge=2000, le=2100)
    price_year: int = Field(ge=2000, le=2100)
    items: tuple[CostItem, ...]
    children: dict[int, float]
    deflators: dict[int, float] = Field(default_factory=dict)
    deflator_source: str = ""
    not_counted: tuple[str, ...] = ()

    @model_validator(mode="after")
    def can_be_added_up(self) -> Costs:
        if not self.items:
            raise ValueError("items: name at least one cost")
        if not self.children or any(count <= 0 for count in self.children.values()):
            raise ValueError("children: give the children reached in each year, above 0")
        early = [item for item in self.items if item.year < self.base_year]
        if early:
            raise ValueError(f"'{early[0].description}' falls in {early[0].year}, before the base year")
        needed = {item.prices or item.year for item in self.items} | {self.price_year}
        if len(needed) > 1:
            lacking = sorted(year for year in needed if self.deflators.get(year, 0) <= 0)
            if lacking:
                raise ValueError(f"deflators: there is none for {lacking[0]}, and prices of several years are added")
            if not self.deflator_source:
                raise ValueError("deflator_source: say where the deflators come from")
        return self

    def real(self, item: CostItem) -> float:
        """An item at the prices of ``price_year``."""
        prices = item.prices or item.year
        if prices == self.price_year:
            return item.amount
        return item.amount * self.deflators[self.price_year] / self.deflators[prices]

    def table(self, rates: Rates = "standard") -> pd.DataFrame:
        """One row an item and year: ``what, description, payer, year, real, present_value, transfer``.

        What lasts several years is spread equally over those in which children were reached, from its own on. The last
        of them is the end of the pilot: what is left of an item then isn't counted.
        """
        last = max(self.children)
        rows = []
        for item in self.items:
            yearly = self.real(item) / item.lasts
            years = range(item.year, item.year + item.lasts)
            for year in years if item.lasts == 1 else [each for each in years if each <= last]:
                rows.append(
                    {
                        "what": item.what,
                        "description": item.description,
                        "payer": item.payer,
                        "year": year,
                        "real": yearly,
                        "present_value": yearly * discount_factor(year - self.base_year, rates),
                        "transfer": item.what == "transfer",
                    }
                )
        return pd.DataFrame(rows)

    def by_payer(self, rates: Rates = "standard") -> pd.DataFrame:
        """Present value by payer, ``payer, present_value, transfers``: transfers apart, since they use nothing up."""
        found = self.table(rates)
        spent = found[~found["transfer"]].groupby("payer")["present_value"].sum()
        moved = found[found["transfer"]].groupby("payer")["present_value"].sum()
        both = pd.concat([spent.rename("present_value"), moved.rename("transfers")], axis=1).fillna(0.0)
        return both.rename_axis("payer").sort_index().reset_index()

    def present_value(self, rates: Rates = "standard") -> float:
        """All that is used up, in present value; transfers don't count."""
        found = self.table(rates)
        return float(found.loc[~found["transfer"], "present_value"].sum())

    def per_child(self, rates: Rates = "standard") -> float:
        """Present value over all child-years reached, without discounting the children."""
        return self.present_value(rates) / sum(self.children.values())

    @property
    def band(self) -> str:
        """The cost rating of the Education Endowment Foundation: pounds a pupil and year, over three years.

        Undiscounted and at the prices of ``price_year``; a shorter pilot is rated over the years it has.
        """
        years = sorted(self.children)[:BAND_YEARS]
        found = self.table()
        spent = found.loc[~found["transfer"] & (found["year"] <= years[-1]), "real"].sum()
        return cost_band(float(spent) / sum(self.children[year] for year in years))


def cost_band(pounds: float) -> str:
    """Very low under £80 a pupil and year, low to £200, moderate to £700, high to £1,200, very high above."""
    if pounds < 0 or not np.isfinite(pounds):
        raise UsageError("A cost band needs a cost of 0 or more.")
    if pounds < BANDS[0][0]:
        return BANDS[0][1]
    return next((name for limit, name in BANDS[1:] if pounds <= limit), "very high")


def discount_factor(year: int, rates: Rates = "standard") -> float:
    """One over the product of 1 + rate from year 1 to ``year``; year 0 isn't discounted.

    Raises UsageError for a year before 0 or after 125, the last that the Green Book gives a rate for.
    """
    if rates not in RATES:
        raise UsageError(f"rates must be one of {', '.join(RATES)}, not '{rates}'.")
    if not 0 <= year <= RATES[rates][-1][0]:
        raise UsageError(f"There is no discount rate for year {year}: give 0 to {RATES[rates][-1][0]}.")
    factor, first = 1.0, 0
    for last, rate in RATES[rates]:
        factor /= (1 + rate) ** max(min(year, last) - first, 0)
        first = last
    return factor


def present_value(amounts: Sequence[float], rates: Rates = "standard") -> float:
    """Present value of real amounts by year, the first of them year 0."""
    return float(sum(amount * discount_factor(year, rates) for year, amount in enumerate(amounts)))


@dataclass(frozen=True)
class CostEffect:
    """Extra cost and extra effect for each child, with their standard errors and covariance.

    The effect is turned so that more is better. An estimated cost has a standard error; a budget has none (0).
    """

    cost: float
    effect: float
    cost_error: float
    effect_error: float
    covariance: float = 0.0

    def __post_init__(self) -> None:
        bound = self.cost_error * self.effect_error
        if min(self.cost_error, self.effect_error) < 0 or abs(self.covariance) > bound * (1 + 1e-9):
            raise UsageError("Standard errors must be 0 or more, and the covariance no larger than their product.")

    @property
    def ratio(self) -> float:
        """Extra cost for each unit of effect (ICER), whatever its interval; see ``cost_per_outcome``."""
        return self.cost / self.effect if self.effect else float("nan")

    def fieller(self, level: float = 0.95) -> tuple[float, float] | None:
        """Fieller's interval of the ratio, or None where it has no finite one.

        It is the set of ratios r for which cost - r effect doesn't differ from 0. Where the effect itself doesn't
        differ from 0 (effect^2 <= z^2 error^2) that set is no finite interval, and no ratio should be printed.
        """
        square = stats.norm.ppf(0.5 + level / 2) ** 2
        first = self.effect**2 - square * self.effect_error**2
        if first <= 0:
            return None
        middle = self.cost * self.effect - square * self.covariance
        last = self.cost**2 - square * self.cost_error**2
        root = np.sqrt(max(middle**2 - first * last, 0.0))
        return float((middle - root) / first), float((middle + root) / first)

    @property
    def quadrant(self) -> Literal["better and dearer", "better and cheaper", "worse and dearer", "worse and cheaper"]:
        if self.effect >= 0:
            return "better and dearer" if self.cost >= 0 else "better and cheaper"
        return "worse and dearer" if self.cost >= 0 else "worse and cheaper"

    def net_benefit(self, value: float, level: float = 0.95) -> tuple[float, float, float]:
        """Net monetary benefit at ``value`` pounds a unit of effect, with its interval."""
        benefit, error = value * self.effect - self.cost, self._benefit_error(value)
        reach = float(stats.norm.ppf(0.5 + level / 2)) * error
        return benefit, benefit - reach, benefit + reach

    def _benefit_error(self, value: float) -> float:
        variance = value**2 * self.effect_error**2 + self.cost_error**2 - 2 * value * self.covariance
        return float(np.sqrt(max(variance, 0.0)))

    def acceptability(self, values: Iterable[float]) -> pd.DataFrame:
        """``value, probability``: how likely it is that the net benefit is above 0, at each value of the outcome."""
        rows = []
        for value in values:
            benefit, error = value * self.effect - self.cost, self._benefit_error(value)
            likely = float(stats.norm.cdf(benefit / error)) if error > 0 else float(benefit > 0)
            rows.append({"value": float(value), "probability": likely})
        return pd.DataFrame(rows, columns=["value", "probability"])


@dataclass(frozen=True)
class CostPerOutcome:
    """Cost for each unit of outcome with Fieller's interval; all missing where it must not be printed, and ``why``."""

    ratio: float | None
    ci_low: float | None
    ci_high: float | None
    why: str


def cost_per_outcome(found: CostEffect, level: float = 0.95) -> CostPerOutcome:
    """The ratio where it means something: the effect differs from 0 and is a gain that costs more.

    Else print the cost for each child and the effect, side by side.
    """
    interval = found.fieller(level)
    if interval is None:
        return CostPerOutcome(None, None, None, "The effect can't be told apart from no change")
    if found.quadrant != "better and dearer":
        why = {
            "better and cheaper": "It did better and cost less, so there is no cost to set against the gain",
            "worse and dearer": "It did worse and cost more, so there is no gain to set against the cost",
            "worse and cheaper": "It did worse and cost less: the ratio would be a saving for each outcome lost",
        }[found.quadrant]
        return CostPerOutcome(None, None, None, why)
    return CostPerOutcome(found.ratio, *interval, "")


@dataclass(frozen=True)
class Benefit:
    """Pounds of present value that the effect is worth. A transfer (a deficit paid off) is no benefit."""

    description: str
    amount: float
    transfer: bool = False


def benefit_cost_ratio(benefits: Sequence[Benefit], cost: float, *, confidence: str) -> float:
    """Benefits over costs, only where the confidence word is Moderate or High.

    Raises DesignError for a lower word, or where a benefit is a transfer; UsageError for a cost of 0 or less.
    """
    if confidence not in RATED:
        raise DesignError(
            f"Confidence in the effect is '{confidence}', so benefits can't be set against costs. It must be "
            f"{' or '.join(RATED)}."
        )
    moved = [benefit.description for benefit in benefits if benefit.transfer]
    if moved:
        raise DesignError(f"'{moved[0]}' is a transfer: money moves and nothing is gained. Leave it out of benefits.")
    if cost <= 0:
        raise UsageError("A benefit-cost ratio needs a cost above 0.")
    return sum(benefit.amount for benefit in benefits) / cost
