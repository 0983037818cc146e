"""`python -m unforced`."""

from unforced.cli.main import main

main()
