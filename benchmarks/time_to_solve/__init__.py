"""Time to solve: seconds, samples and operations of training until held-out problems are solved."""
