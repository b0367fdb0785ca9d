"""In plain English: which method of inference was chosen for each effect, why, and which were refused."""

from __future__ import annotations

from dataclasses import replace

import pandas as pd

from sendap.inference.selector import WORDS, choose
from sendap.results import Estimates

ABOUT = ["outcome", "contrast", "stratum", "estimator"]


def explain(results: Estimates | pd.DataFrame, term: str = "overall") -> pd.DataFrame:
    """One row for each effect: ``outcome, contrast, stratum, estimator, headline, second, refused, sentence``.

    ``second`` lists the methods that stand beside the headline with an interval, ``refused`` those that aren't valid.
    Effects whose inference the selector doesn't choose, such as synthetic controls, are left out.
    """
    frame = results.frame if isinstance(results, Estimates) else results
    rows = []
    for key, group in frame[frame["term"] == term].groupby(ABOUT, sort=False):
        headline = group[group["headline"]]
        if headline.empty or headline["inference"].iloc[0] not in (*WORDS, "none"):
            continue
        row = headline.iloc[0]
        treated, clusters = row["treated_clusters"], row["clusters"]
        beside = group[~group["headline"] & (group["status"] != "not_estimable")]
        second = tuple(name for name in beside["inference"] if name in WORDS)
        if row["inference"] == "none" or not clusters >= treated:
            made = {"headline": "none", "second": second, "refused": (), "sentence": str(row["note"])}
        else:
            choice = choose(int(treated), int(clusters - treated), float(row["effective_clusters"]))
            said = replace(choice, headline=str(row["inference"])).sentence(second)
            if row["inference"] != choice.headline:
                said += " The headline method was asked for by name."
            made = {"headline": row["inference"], "second": second, "refused": choice.refused, "sentence": said}
        rows.append({**dict(zip(ABOUT, key, strict=True)), **made})
    return pd.DataFrame(rows, columns=[*ABOUT, "headline", "second", "refused", "sentence"])
