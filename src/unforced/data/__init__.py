"""From problems to batches of tokens."""
