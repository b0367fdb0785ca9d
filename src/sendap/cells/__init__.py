"""Cells: the sufficient statistics that every estimator takes. See ``sendap.cells.core``."""

from sendap.cells.core import Cells, OutcomeInfo, Panel

__all__ = ["Cells", "OutcomeInfo", "Panel"]
