"""Run folders: reading and writing their files, finding them, grouping them over seeds."""
