"""Measurements of speed besides `unforced bench`. Run from the root: `python -m benchmarks.objectives`."""
