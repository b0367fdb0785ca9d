"""What could be wrong with a result."""

from sendap.probe.trends import TrendCheck, base_years, check_trends

__all__ = ["TrendCheck", "base_years", "check_trends"]
