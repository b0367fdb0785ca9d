"""Valid p-values and intervals, given how few clusters are treated."""

from sendap.inference.infer import infer
from sendap.inference.selector import Choice, choose

__all__ = ["Choice", "choose", "infer"]
