"""unforced: shows, measures and repairs the failures of next-token prediction."""

__version__ = "0.1.0"
