"""A recipe of several runs over seeds: a table of outcomes, for papers/RECIPE/README.md.

    python papers/seeds.py quickstart --seeds 10
    python papers/seeds.py small_mamba --seeds 5 --diagnose

Trains the recipe's runs for each seed, one per processor at a time; writes seeds.md and seeds.json into
papers/RECIPE. Stopped, the same command goes on; what is finished is not run again.
"""

import argparse
import json
import os
from pathlib import Path

import pandas as pd

from unforced.config import SOLVED
from unforced.evaluation.groups import collect
from unforced.evaluation.statistics import proportion
from unforced.experiment import diagnose_run
from unforced.files import read_json
from unforced.recipes import resolve
from unforced.reporting.tables import markdown, percent
from unforced.studies.local import run_side_by_side
from unforced.training.folder import RunFolder

HERE = Path(__file__).parent
KEPT = ["ended_by", "steps", "samples", "flops", "seconds", "hardware"]
KEPT += [f"{split}.{mode}.exact" for split in ("train", "test") for mode in ("forced", "free")]


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, help="default: runs/RECIPE-seeds")
    parser.add_argument("--diagnose", action="store_true", help="also diagnose each run")
    arguments = parser.parse_args()
    out, here = arguments.out or Path(f"runs/{arguments.recipe}-seeds"), HERE / arguments.recipe
    recipe, seeds = resolve(arguments.recipe, []), range(arguments.seeds)
    runs = {
        f"{name}-{seed}": run.override([f"seed={seed}"]) for seed in seeds for name, run in recipe.items()
    }
    if run_side_by_side(runs, out, workers=os.cpu_count() or 1, watch=Printer()) is not None:
        return
    results = {name: RunFolder(out / name).read_result() for name in runs}
    kept = {name: {key: result[key] for key in KEPT} for name, result in results.items()}
    if arguments.diagnose:
        for name, facts in kept.items():
            facts["diagnosis"] = results[name]["diagnosis"] = diagnosis(out / name)
    summary = collect([out], "free.exact").as_dict()
    here.mkdir(exist_ok=True)
    (here / "seeds.json").write_text(json.dumps({"runs": kept, "summary": summary}, indent=1) + "\n")
    lines = [summary_line(name, [results[f"{name}-{seed}"] for seed in seeds]) for name in recipe]
    content = f"{markdown(table(results, list(recipe), seeds))}\n" + "\n".join(lines) + "\n"
    (here / "seeds.md").write_text(content)
    print(content)


def diagnosis(folder: Path) -> dict:
    """Diagnose a run that has not been; return the verdict, and the cheat and the decisions measured."""
    known = RunFolder(folder).diagnosis
    found = read_json(known) if known.exists() else diagnose_run(folder, None, 0.95)
    kept = {key: found[key] for key in ("clever_hans", "indecipherable_token")}
    return {"verdict": found["verdict"]["name"], **kept}


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
    """Return a row per seed: held-out whole answers, free, the steps that each run took, and its verdict."""
    rows = {}
    for seed in seeds:
        found = {name: results[f"{name}-{seed}"] for name in names}
        row = {f"{name} (steps)": outcome(each) for name, each in found.items()}
        rows[seed] = row | {"next_token, train": percent(found["next_token"]["train.free.exact"])}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "seed"
    return frame


def outcome(result: dict) -> str:
    """Write the held-out accuracy of whole free answers, the steps, and the verdict if there is one."""
    said = f"{percent(result['test.free.exact'])} ({result['steps']:,})"
    return f"{said} {result['diagnosis']['verdict']}" if "diagnosis" in result else said


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
