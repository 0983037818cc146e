"""What connects runs to other tools: experiment trackers."""
