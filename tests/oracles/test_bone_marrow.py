"""Survival without disease after a bone marrow transplant: SAS/STAT, procedure LIFETEST, and Klein and Moeschberger.

Klein and Moeschberger (2003), Survival Analysis, section 1.3, patients with acute lymphoblastic leukaemia. The data and
the curve that SAS prints to five digits come with the package statsmodels, for its own tests (SAS/STAT User's Guide,
"The LIFETEST Procedure").

One day is one interval here, so the discrete curve is Kaplan and Meier's. SAS's standard errors (Greenwood's) have no
counterpart: ours come from areas.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import statsmodels

from sendap.estimators.incidence import Curves

DATA = Path(statsmodels.__file__).parent / "duration" / "tests" / "results"


def test_the_curve_that_sas_prints():
    every = pd.read_csv(DATA / "bmt.csv")
    cases = every[every["Group"] == "ALL"]
    assert (len(cases), int(cases["Status"].sum())) == (38, 24)
    days = np.arange(1, int(cases["T"].max()) + 1)
    last, died = cases["T"].to_numpy()[:, None], cases["Status"].to_numpy()[:, None] == 1
    risk, events = (last >= days).sum(axis=0), ((last == days) & died).sum(axis=0)
    curves = Curves.of(risk[None].astype(float), events[None, None].astype(float))
    printed = pd.read_csv(DATA / "bmt_results.csv")
    np.testing.assert_allclose(curves.survival[0, printed["t"]], printed["s"], atol=5.1e-6)
    # With one cause, the share that had the event is what survival leaves.
    np.testing.assert_allclose(curves.incidence[0, 0], 1 - curves.survival[0], atol=1e-12)
