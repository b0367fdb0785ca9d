"""Programmes that never happened, placed on real figures: how often each method raises a false alarm."""
