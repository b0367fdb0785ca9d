"""Figures, tables and sentences: from results to what a person reads or sees."""
