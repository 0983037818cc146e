"""The quickstart over seeds: a table of outcomes, for papers/quickstart/README.md.

    python papers/quickstart/seeds.py [--seeds 10] [--out runs/quickstart-seeds]

Trains the runs of `unforced quickstart seed=K` for each seed, one per processor at a time; writes seeds.md
and seeds.json beside this file. Stopped, the same command goes on; what is finished is not run again.
"""

import argparse
import json
import os
from pathlib import Path

import pandas as pd

from unforced.config import SOLVED
from unforced.evaluation.groups import collect
from unforced.evaluation.statistics import proportion
from unforced.recipes.quickstart import quickstart
from unforced.reporting.tables import markdown, percent
from unforced.studies.local import run_side_by_side
from unforced.training.folder import RunFolder

HERE = Path(__file__).parent
KEPT = ["ended_by", "steps", "samples", "flops", "seconds", "hardware"]
KEPT += [f"{split}.{mode}.exact" for split in ("train", "test") for mode in ("forced", "free")]


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart-seeds"))
    arguments = parser.parse_args()
    names, seeds = list(quickstart()), range(arguments.seeds)
    runs = {
        f"{name}-{seed}": run.override([f"seed={seed}"])
        for seed in seeds
        for name, run in quickstart().items()
    }
    if run_side_by_side(runs, arguments.out, workers=os.cpu_count() or 1, watch=Printer()) is not None:
        return
    results = {name: RunFolder(arguments.out / name).read_result() for name in runs}
    summary = collect([arguments.out], "free.exact").as_dict()
    kept = {name: {key: result[key] for key in KEPT} for name, result in results.items()}
    (HERE / "seeds.json").write_text(json.dumps({"runs": kept, "summary": summary}, indent=1) + "\n")
    lines = [summary_line(name, [results[f"{name}-{seed}"] for seed in seeds]) for name in names]
    (HERE / "seeds.md").write_text(f"{markdown(table(results, names, seeds))}\n" + "\n".join(lines) + "\n")
    print((HERE / "seeds.md").read_text())


class Printer:
    """Prints a run's name when its state changes."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}

    def __call__(self, states: dict[str, str]) -> None:
        """Hear the state of each run."""
        for name, state in states.items():
            if self.states.get(name) != state:
                print(name, state, flush=True)
        self.states = dict(states)


def table(results: dict, names: list[str], seeds: range) -> pd.DataFrame:
    """Return a row per seed: held-out whole answers, free, and the steps that each run took."""
    rows = {}
    for seed in seeds:
        found = {name: results[f"{name}-{seed}"] for name in names}
        row = {f"{name} (steps)": f"{held_out(each)} ({each['steps']:,})" for name, each in found.items()}
        rows[seed] = row | {"next_token, train": percent(found["next_token"]["train.free.exact"])}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "seed"
    return frame


def held_out(result: dict) -> str:
    """Write the held-out accuracy of whole free answers."""
    return percent(result["test.free.exact"])


def summary_line(name: str, results: list[dict]) -> str:
    """Say how often a run was solved, and how often it was near chance."""
    values = [result["test.free.exact"]["value"] for result in results]
    solved = sum(value >= SOLVED for value in values)
    near = sum(abs(value - results[0]["chance"]) <= 0.05 for value in values)
    return (
        f"- {name}: solved on held-out problems in {solved} of {len(values)} seeds "
        f"({percent(proportion(solved, len(values)))}), within 5 points of chance in {near}; "
        f"range {100 * min(values):.1f}% to {100 * max(values):.1f}%."
    )


if __name__ == "__main__":
    main()
