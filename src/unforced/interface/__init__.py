"""The Python interface: what `import unforced as uf` offers, for notebooks and scripts.

recipes.py    runs by name, and parts of one's own     fit.py         train a run; what a trained run offers
problems.py   a task's problems, as text and symbols   answers.py     free answers to prompts
diagnosis.py  why a model fails, in words and numbers  study.py       many runs
collection.py run folders and reports on them          notebook.py    what a notebook needs to be told
progress.py   live progress, in a terminal or notebook words.py       errors in the words of Python
"""

import warnings

# tqdm, which other libraries import, asks for widgets; progress here needs none.
warnings.filterwarnings("ignore", message="IProgress not found")
