"""Stand-your-ground laws taken apart into pairs: Cunningham (2021), Causal Inference: The Mixtape, chapter 9.

Cheng and Hoekstra (2013), doi:10.3368/jhr.48.3.821, by the decomposition of Goodman-Bacon (2021): earlier against later
.077 of the weight, estimate -.029; later against earlier .024 and .046; treated against never treated .899 and .078;
in all .069. Data from the package causaldata (castle).

The vignette of the R package bacondecomp prints other figures (.05976, .03190, .90834; in all .0818). Its own copy of
the data starts the laws otherwise: its dummy isn't the one of this file, whose starts are asserted below.
"""

from __future__ import annotations

import pandas as pd
import pytest

from sendap.cells import Cells
from sendap.probe.decomposition import KINDS, decompose

PRINTED = {KINDS[0]: (0.899, 0.078), KINDS[1]: (0.077, -0.029), KINDS[2]: (0.024, 0.046)}
HALF_A_DIGIT = 0.0005


def test_the_three_kinds_of_pairs(oracles):
    frame = pd.read_csv(oracles / "causaldata_castle" / "data.csv.gz", usecols=["sid", "year", "post", "l_homicide"])
    starts = frame[frame["post"] == 1].groupby("sid")["year"].min()
    assert starts.value_counts().to_dict() == {2006: 1, 2007: 13, 2008: 4, 2009: 2, 2010: 1}
    frame["cohort"] = frame["sid"].map(starts)
    cells = Cells.from_rates(
        frame, cluster="sid", period="year", cohort="cohort", outcome="l_homicide", rate="l_homicide"
    )
    found = decompose(cells.panel()).summary().set_index("kind")
    for kind, (weight, estimate) in PRINTED.items():
        assert found.loc[kind, "weight"] == pytest.approx(weight, abs=HALF_A_DIGIT)
        assert found.loc[kind, "estimate"] == pytest.approx(estimate, abs=HALF_A_DIGIT)
    assert (found["weight"] * found["estimate"]).sum() == pytest.approx(0.069, abs=HALF_A_DIGIT)
