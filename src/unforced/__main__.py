"""`python -m unforced`."""

import os
import sys

if sys.path[0] == "" or sys.path[0] == os.getcwd():
    del sys.path[0]  # the working folder, whose random.py or json.py is not Python's

from unforced.cli.main import main

main()
