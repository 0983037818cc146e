"""Run in two processes by test_distributed.py: a run straight on, and one stopped on its way."""

import os
import sys
from pathlib import Path

from tests.runs import Silent, stop_at, tiny_run, train


def main(folder):
    run = tiny_run("evaluate_every=15", "checkpoint_every=1000")
    train(run, folder / "straight")
    second = os.environ["RANK"] == "1"
    train(run, folder / "stopped", observer=stop_at(15) if second else Silent())
    train(run, folder / "stopped", resume=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
