"""Disparity by place, sex and ethnicity: how large, adjusted for what, and did the programme narrow it."""
