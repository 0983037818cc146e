"""Forced and free accuracy."""
