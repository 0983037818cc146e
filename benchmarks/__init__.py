"""Measurements of speed, as ratios. Run them from the root: `python -m benchmarks.training`."""
