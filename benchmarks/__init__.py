"""Measurements of speed, as ratios. `unforced bench` has the others. Run them from the root: `python -m benchmarks.objectives`."""
