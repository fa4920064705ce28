"""Annotators who know the truth, and what a model learns from the order in which they label: `segloop simulate
learning`."""
