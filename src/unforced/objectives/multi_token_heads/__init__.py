"""Kinds of heads of `multi_token`: a file each, and a line in the registry."""
