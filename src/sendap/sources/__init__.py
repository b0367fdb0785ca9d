"""Tables from files, as the publishers write them."""

from sendap.sources.read import MeasuredSeries, read_series

__all__ = ["MeasuredSeries", "read_series"]
