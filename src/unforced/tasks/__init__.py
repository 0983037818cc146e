"""Problem generators with exact answers."""
