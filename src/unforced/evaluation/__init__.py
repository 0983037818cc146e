"""Forced and free accuracy, diagnostics and their verdict, statistics over problems and seeds."""
