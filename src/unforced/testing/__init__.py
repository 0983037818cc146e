"""What a test of one's own may need: models that fail in known ways."""
