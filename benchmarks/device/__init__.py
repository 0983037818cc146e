"""What a GPU that is lent for some minutes is used for: see `benchmarks.device.__main__`."""
