"""How fast this machine trains, answers and starts, and other libraries beside it in the same minute."""

SECTIONS = ("training", "others", "stacked", "evaluation", "data", "start")
"""What is measured, in this order; the peaks of the machine always are."""
