"""Valid p-values and intervals, given how few clusters are treated."""

from sendap.inference.after import after_the_data
from sendap.inference.explain import explain
from sendap.inference.infer import infer
from sendap.inference.multiplicity import adjust_family
from sendap.inference.selector import Choice, choose

__all__ = ["Choice", "adjust_family", "after_the_data", "choose", "explain", "infer"]
