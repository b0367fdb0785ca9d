"""The marginals of synthetic records as arrays, from ``records.yaml``."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
import yaml
from scipy.optimize import brentq
from scipy.special import expit, logit

SEX = ("Female", "Male")
FSM = ("Not eligible", "Eligible")
SEN = ("No SEN", "SEN")
GROUPS = ("sex", "fsm", "sen_baseline", "ethnicity")
QUANTILES = 2048
"""Steps of the table from which absence is drawn."""


@dataclass(frozen=True)
class Marginals:
    """Published figures, as the arrays that draws are made from.

    With A authorities, E ethnic groups, and positions of ``SEX``, ``FSM`` and ``SEN``: ``size`` (A) pupils,
    ``ethnicity_steps`` (A by E) cumulative shares in the region of each authority, ``male`` the share of boys,
    ``fsm`` (E) shares, ``sen`` (2 by 2 by E: sex, FSM, ethnicity) shares, ``absence`` (2 by 2 by 2 by quantile:
    SEN, FSM, sex) per cent of sessions, ``absence_mean`` over all pupils. The last ethnic group stands for missing.
    """

    authorities: tuple[str, ...]
    size: np.ndarray
    ethnicity: tuple[str, ...]
    ethnicity_steps: np.ndarray
    male: float
    fsm: np.ndarray
    sen: np.ndarray
    absence: np.ndarray
    absence_mean: float
    assumptions: dict[str, dict]

    def assumption(self, name: str, key: str = "value") -> float:
        return float(self.assumptions[name][key])

    def assumption_values(self, name: str) -> list[float]:
        return [float(value) for value in self.assumptions[name]["values"]]

    def levels(self, group: str) -> tuple[str, ...]:
        """The values of a column that divides pupils."""
        return {"sex": SEX, "fsm": FSM, "sen_baseline": SEN, "ethnicity": self.ethnicity[:-1]}[group]


def _absence(bands: dict) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pupils (SEN, FSM, sex), their quantiles of absence, and their mean, from counts in bands.

    Inside a band absence is taken to be spread evenly.
    """
    edges = np.array([0.0, *bands["upper_edges_percent"]])
    middle = (edges[1:] + edges[:-1]) / 2
    grid = np.linspace(0, 1, QUANTILES + 1)
    pupils, mean = np.zeros((2, 2, 2)), np.zeros((2, 2, 2))
    quantiles = np.zeros((2, 2, 2, QUANTILES + 1))
    for row in bands["values"]:
        at = SEN.index(row["sen_baseline"]), FSM.index(row["fsm"]), SEX.index(row["sex"])
        counts = np.array(row["pupils"], dtype=float)
        pupils[at], mean[at] = counts.sum(), counts @ middle / counts.sum()
        quantiles[at] = np.interp(grid, np.concatenate([[0.0], np.cumsum(counts) / counts.sum()]), edges)
    return pupils, quantiles, mean


def _sen_shares(pupils: np.ndarray, ethnic_mix: np.ndarray, odds: np.ndarray) -> np.ndarray:
    """Share with SEN by sex, FSM and ethnicity: odds ratios as given, averages as published.

    ``ethnic_mix`` (2 by E): shares of the ethnic groups among pupils of each FSM status.
    """
    shares = np.zeros((2, 2, len(odds)))
    for sex in range(2):
        for fsm in range(2):
            published = pupils[1, fsm, sex] / pupils[:, fsm, sex].sum()

            def excess(shift: float, fsm: int = fsm, published: float = published) -> float:
                return float(ethnic_mix[fsm] @ expit(logit(published) + np.log(odds) + shift) - published)

            shift = brentq(excess, -3, 3)
            shares[sex, fsm] = expit(logit(published) + np.log(odds) + shift)
    return shares


@cache
def read_marginals() -> Marginals:
    """Read ``records.yaml``, once."""
    known = yaml.safe_load((files("sendap.sources") / "records.yaml").read_text(encoding="utf-8"))
    areas = known["pupils_by_local_authority"]["values"]
    ethnic = known["ethnicity_by_region"]
    groups = ethnic["groups"]
    counts = {region: np.array(values, dtype=float) for region, values in ethnic["values"].items()}
    authorities = tuple(areas)
    by_area = np.array([counts[areas[code]["region"]] for code in authorities])
    fsm = np.array([known["fsm_share_by_ethnicity"]["values"][group] for group in groups])
    total = np.sum(list(counts.values()), axis=0)
    mix = np.array([total * (1 - fsm), total * fsm])
    listed = known["assumptions"]["sen_odds_ratio_by_ethnicity"]["values"]
    pupils, quantiles, mean = _absence(known["absence_bands"])
    return Marginals(
        authorities=authorities,
        size=np.array([areas[code]["pupils"] for code in authorities], dtype=float),
        ethnicity=tuple(groups),
        ethnicity_steps=np.cumsum(by_area / by_area.sum(axis=1, keepdims=True), axis=1),
        male=float(pupils[:, :, 1].sum() / pupils.sum()),
        fsm=fsm,
        sen=_sen_shares(pupils, mix / mix.sum(axis=1, keepdims=True), np.array([listed.get(g, 1.0) for g in groups])),
        absence=quantiles,
        absence_mean=float((pupils * mean).sum() / pupils.sum()),
        assumptions=known["assumptions"],
    )
