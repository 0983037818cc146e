r"""A recipe of several runs over seeds: a table of outcomes, for papers/RECIPE/README.md.

    python papers/seeds.py quickstart --seeds 10
    python papers/seeds.py small_mamba --seeds 5 --diagnose
    python papers/seeds.py small_mamba --seeds 5 --diagnose --name quickstart_problem \
        -- task.path_length=4 task.num_nodes=9

Trains the recipe's runs for each seed, one per core at a time; writes NAME.md and NAME.json into
papers/RECIPE. Stopped, the same command goes on; what is finished is not run again, also where seeds or
runs are added.
"""

import argparse
import json
import sys
from pathlib import Path

import pandas as pd

from unforced.cli.study_progress import StudyLines
from unforced.config import SOLVED
from unforced.errors import UserError
from unforced.evaluation.statistics import proportion
from unforced.recipes import resolve
from unforced.reporting.tables import markdown, percent
from unforced.runs.folder import RunFolder
from unforced.runs.groups import collect
from unforced.studies.local import LocalEngine
from unforced.studies.runner import run_study
from unforced.study import Study, over_seeds

HERE = Path(__file__).parent
KEPT = ["ended_by", "steps", "samples", "flops", "seconds", "hardware"]
KEPT += [f"{split}.{mode}.exact" for split in ("train", "test") for mode in ("forced", "free")]


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("recipe")
    parser.add_argument("overrides", nargs="*", help="of all runs alike, as in task.path_length=4")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--name", default="seeds", help="of the table's files")
    parser.add_argument("--out", type=Path, help="default: runs/RECIPE-NAME")
    parser.add_argument("--only", nargs="+", help="of the recipe's runs, these")
    parser.add_argument("--diagnose", action="store_true", help="also diagnose each run")
    arguments = parser.parse_intermixed_args()
    out, here = arguments.out or Path(f"runs/{arguments.recipe}-{arguments.name}"), HERE / arguments.recipe
    recipe, seeds = resolve(arguments.recipe, arguments.overrides), range(arguments.seeds)
    recipe = {name: recipe[name] for name in arguments.only or recipe}
    study = Study(arguments.recipe, "", over_seeds(recipe, seeds), diagnose=arguments.diagnose)
    ended = run_study(study, out, LocalEngine(processor_only=True), StudyLines(out))
    if ended.stopped_by is not None:
        return
    ended.raise_failures()
    results = {name: RunFolder(out / name).read_result() for name in study.runs}
    kept = {name: {key: result[key] for key in KEPT} for name, result in results.items()}
    if arguments.diagnose:
        for name, facts in kept.items():
            facts["diagnosis"] = results[name]["diagnosis"] = diagnosis(RunFolder(out / name))
    summary = collect([out], "free.exact").as_dict()
    here.mkdir(exist_ok=True)
    (here / f"{arguments.name}.json").write_text(
        json.dumps({"runs": kept, "summary": summary}, indent=1) + "\n"
    )
    lines = [summary_line(name, [results[f"{name}-{seed}"] for seed in seeds]) for name in recipe]
    content = f"{markdown(table(results, list(recipe), seeds))}\n" + "\n".join(lines) + "\n"
    (here / f"{arguments.name}.md").write_text(content)
    print(content)


def diagnosis(folder: RunFolder) -> dict:
    """Return a run's verdict, and the cheat and the decisions measured."""
    found = folder.read_diagnosis()
    kept = {key: found[key] for key in ("clever_hans", "indecipherable_token")}
    return {"verdict": found["verdict"]["name"], **kept}


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
    try:
        main()
    except UserError as error:
        sys.exit(str(error))
