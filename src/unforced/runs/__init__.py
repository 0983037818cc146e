"""Run folders: their files read and written, found, and grouped over seeds."""
