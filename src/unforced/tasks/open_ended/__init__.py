"""Open-ended tasks: any coherent answer to a random seed string is right, and answers are scored as a set."""
