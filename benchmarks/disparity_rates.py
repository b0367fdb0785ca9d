"""How often the disparity methods find something where nothing was planted.

    python benchmarks/disparity_rates.py --seeds 500 --log rates.jsonl

Each seed makes 40 areas, half of which start a programme, over five years, with four groups, two sexes and five bands
of deprivation. Areas differ, areas move from year to year, and each group has its own luck in each area; but no group,
sex or band is better off, and the programme does nothing. Each check says whether a method found something: over seeds
its share should be near the nominal one. The log holds one line a seed, so a run that was stopped goes on where it
ended; the summary is written to benchmarks/results/disparity-rates.json.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd

from sendap.cells import Cells, OutcomeInfo
from sendap.disparity.adjust import adjusted_gaps
from sendap.disparity.decomposition import place_parts, place_parts_change
from sendap.disparity.fairlie import fairlie
from sendap.disparity.funnel import funnel
from sendap.disparity.gaps import gaps
from sendap.disparity.gradient import gradient
from sendap.disparity.intersections import intersections
from sendap.disparity.oaxaca import oaxaca
from sendap.disparity.place import area_gaps
from sendap.disparity.programme import programme_gaps
from sendap.disparity.ranks import rank_intervals
from sendap.disparity.small_area import fay_herriot
from sendap.disparity.spread import spread_change

AREAS, TREATED, YEARS, START = 40, 20, range(2020, 2025), 2023
GROUPS = {"A": 12.0, "B": 40.0, "C": 8.0, "D": 5.0}
"""Mean children of each group in an area, year, sex and band; B is the reference."""

BANDS = [str(band) for band in range(1, 6)]
RESULT = Path(__file__).parent / "results" / "disparity-rates.json"
NOMINAL = {
    "gap flagged": "no more than 0.05",
    "guard says harm to any of 4 groups": "up to 0.19: 4 one-sided tests at 0.05, uncorrected by rule",
    "narrowed in any words": "no more than 0.05",
    "funnel outside 95%": 0.05,
    "funnel outside 99.8%": 0.002,
    "ranks miss the truth": "no more than 0.05, all areas together",
    "small area misses": 0.05,
}


def nothing(seed: int) -> Cells:
    """A table in which nothing was planted."""
    draw = np.random.default_rng(seed)
    level = draw.normal(0.4, 0.06, AREAS)
    year = draw.normal(0, 0.02, (AREAS, len(YEARS)))
    luck = {name: draw.normal(0, 0.02, AREAS) for name in GROUPS}
    rows = []
    for area in range(AREAS):
        start = float(START) if area < TREATED else np.nan
        for at, period in enumerate(YEARS):
            for name, size in GROUPS.items():
                p = float(np.clip(level[area] + year[area, at] + luck[name][area] + 0.01 * at, 0.02, 0.98))
                n = draw.poisson(size, (2, len(BANDS)))
                yes = draw.binomial(n, p)
                for (sex, band), count in np.ndenumerate(n):
                    if count:
                        rows.append(
                            (f"L{area:02d}", period, start, name, "FM"[sex], BANDS[band], int(count), yes[sex, band])
                        )
    frame = pd.DataFrame(rows, columns=["area", "year", "start", "g", "sex", "idaci", "n", "yes"])
    return Cells.from_rates(
        frame, cluster="area", period="year", cohort="start", outcome="y", numerator="yes", denominator="n",
        strata=["g", "sex", "idaci"], scale=100.0, info=OutcomeInfo("per cent", "made up"),
    )  # fmt: skip


def outside(low: float, high: float, truth: float = 0.0) -> bool:
    return bool(low > truth or high < truth)


def one(seed: int) -> dict[str, float]:
    """Every check of one seed: 1 where something was found, or the share of the items in which it was."""
    cells = nothing(seed)
    now = cells.filter(period=[2024])
    found: dict[str, float] = {}
    rows = gaps(now, by="g", reference="B", better="higher")
    rows = rows[(rows["against"] == "B") & (rows["group"] != "B")]
    found["gap flagged"] = float((rows["flag"] | rows["adverse_flag"]).mean())
    found["gap, children as independent"] = float(
        np.mean([outside(*each) for each in rows[["difference_low", "difference_high"]].to_numpy()])
    )
    for rung, factors in {"M0": (), "M2": ("sex", "idaci", "cluster")}.items():
        drawn = adjusted_gaps(now, by="g", reference="B", ladder={rung: factors}, draws=199)
        limits = drawn[["difference_low", "difference_high"]].to_numpy()
        found[f"gap {rung}, drawing areas"] = float(np.mean([outside(*each) for each in limits]))
    parts = place_parts(now, by="g", group="A", reference="B", draws=499)
    change = place_parts_change(
        cells, by="g", group="A", reference="B", before=[2021, 2022], after=[2023, 2024], draws=499
    )
    for name in ("total", "between", "within"):
        found[f"Kitagawa {name}"] = outside(*parts.part(name)[["low", "high"]])
        found[f"Kitagawa change, {name}"] = outside(*change.part(name, arm="difference")[["low", "high"]])
    straight = oaxaca(now, by="g", group="A", reference="B", factors=["sex", "idaci"], draws=499)
    curved = fairlie(now, by="g", group="A", reference="B", factors=["sex", "idaci"], draws=199)
    for name, result in (("Oaxaca", straight), ("Fairlie", curved)):
        for row in result.frame.to_dict("records"):
            found[f"{name} {row['part']}"] = outside(row["low"], row["high"])
    slope = gradient(now, by="idaci", draws=499)
    found["slope index of inequality"] = outside(*slope.value("slope index")[["low", "high"]])
    found["gradient isn't straight"] = float(not slope.linear)
    found["spread change"] = float(
        spread_change(cells, before=[2021, 2022], after=[2023, 2024], draws=499).p_value < 0.05
    )
    crossed = intersections(now, by=["g", "sex", "idaci"])
    found["crossed strata beyond their parts"] = float(
        np.mean([outside(*each) for each in crossed.frame[["beyond_low", "beyond_high"]].dropna().to_numpy()])
    )
    found |= _programme(cells) | _places(now, seed)
    return {name: float(value) for name, value in found.items()}


def _programme(cells: Cells) -> dict[str, float]:
    found: dict[str, float] = {}
    for method in ("two_way", "group_time"):
        result = programme_gaps(
            cells, by="g", reference="B", better="higher", smallest=2.0, margin=3.0, method=method, draws=999
        )
        frame = result.frame
        limits = frame[["gap_effect_low", "gap_effect_high"]].to_numpy()
        found[f"triple difference, {method}"] = float(np.mean([outside(*each) for each in limits]))
        found[f"any of 3 groups after step-down, {method}"] = float((frame["p_adjusted"] < 0.05).any())
        if method == "two_way":
            ratios = frame[["ratio_low", "ratio_high"]].to_numpy()
            found["relative triple difference"] = float(np.mean([outside(*each, 1.0) for each in ratios]))
            found["narrowed in any words"] = float(frame["verdict"].str.startswith("narrowed").mean())
            found["called a widening or a harm to a group"] = float(
                frame["verdict"].isin(["gap widened", "both gained, gap widened", "group harmed"]).mean()
            )
            assert result.guard is not None
            found["guard says harm to any of 4 groups"] = float(result.guard.verdict in ("harm", "serious harm"))
    return found


def _places(now: Cells, seed: int) -> dict[str, float]:
    """The funnel, gaps inside areas, ranks and small areas; the last two with a truth of their own."""
    around = funnel(now)
    far = np.abs(around.frame["z_adjusted"])
    inside = area_gaps(now, by="g", reference="B").dropna(subset=["shrunk"])
    draw = np.random.default_rng(seed + 10_000)
    truth = draw.normal(0, 1, AREAS)
    error = draw.uniform(0.3, 1.5, AREAS)
    figure = draw.normal(truth, error)
    ranks = rank_intervals(np.arange(AREAS), figure, error)
    place = (-truth).argsort().argsort() + 1
    x = np.column_stack([np.ones(AREAS), draw.normal(0, 1, AREAS)])
    small = fay_herriot(figure + x @ [1.0, 0.5], error**2, x)
    goal = truth + x @ [1.0, 0.5]
    return {
        "funnel outside 95%": float((far > 1.96).mean()),
        "funnel outside 99.8%": float((far > 3.09).mean()),
        "gap of a group in an area, shrunken": float(
            np.mean([outside(*each) for each in inside[["shrunk_low", "shrunk_high"]].to_numpy()])
        ),
        "ranks miss the truth": float(((place < ranks["first"]) | (place > ranks["last"])).any()),
        "small area misses": float(((goal < small.low) | (goal > small.high)).mean()),
    }


def summarise(log: Path) -> dict[str, object]:
    lines = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.strip()]
    frame = pd.DataFrame([line["found"] for line in lines])
    checks = {
        name: {
            "rate": round(float(frame[name].mean()), 4),
            "standard_error": round(float(frame[name].std(ddof=1) / np.sqrt(len(frame))), 4),
            "nominal": NOMINAL.get(name, 0.05),
        }
        for name in frame
    }
    return {"seeds": len(frame), "first_seed": min(line["seed"] for line in lines), "checks": checks}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=500)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--log", type=Path, default=Path("disparity-rates.jsonl"))
    parser.add_argument("--only-summary", action="store_true")
    asked = parser.parse_args()
    done = set()
    if asked.log.is_file():
        done = {json.loads(line)["seed"] for line in asked.log.read_text(encoding="utf-8").splitlines() if line.strip()}
    for seed in range(asked.first, asked.first + asked.seeds):
        if asked.only_summary or seed in done:
            continue
        found = one(seed)
        with asked.log.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"seed": seed, "found": found}) + "\n")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(summarise(asked.log), indent=2) + "\n", encoding="utf-8")
    print(RESULT.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
