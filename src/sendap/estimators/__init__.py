"""Effects on cells. Each estimator is linear in the outcome and returns a Fit, which inference turns into results."""

from sendap.estimators.fit import Fit, Permuted
from sendap.estimators.group_time import fit_group_time, fit_two_by_two
from sendap.estimators.group_time_lagged import fit_group_time_lagged
from sendap.estimators.least_squares import fit_event_study, fit_two_way

__all__ = [
    "Fit",
    "Permuted",
    "fit_event_study",
    "fit_group_time",
    "fit_group_time_lagged",
    "fit_two_by_two",
    "fit_two_way",
]
