"""The quickstart over seeds: a table of outcomes, for papers/quickstart/README.md.

    python papers/quickstart/seeds.py [--seeds 10] [--out runs/quickstart-seeds]

Runs `unforced quickstart seed=K` for each seed, one after the other (finished ones are not run again), and
writes seeds.md and seeds.json beside this file.
"""

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd

from unforced.config import SOLVED
from unforced.evaluation.statistics import proportion
from unforced.reporting.tables import markdown, percent

HERE = Path(__file__).parent
NAMES = ("next_token", "reversed", "teacherless")


def main() -> None:
    """Run what is missing, then write the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart-seeds"))
    arguments = parser.parse_args()
    outcomes = [outcome(seed, arguments.out / str(seed)) for seed in range(arguments.seeds)]
    (HERE / "seeds.json").write_text(json.dumps(outcomes, indent=1) + "\n")
    (HERE / "seeds.md").write_text(f"{markdown(table(outcomes))}\n{summary(outcomes)}")
    print((HERE / "seeds.md").read_text())


def outcome(seed: int, folder: Path) -> dict:
    """Return one seed's results; run it if that has not been done."""
    clock = folder / "wall_seconds.json"
    if not clock.exists():
        command = [sys.executable, "-m", "unforced", "quickstart", f"seed={seed}", "--out", str(folder)]
        started = time.perf_counter()
        subprocess.run(command, check=True)
        clock.write_text(json.dumps(time.perf_counter() - started))
    runs = {name: json.loads((folder / name / "result.json").read_text()) for name in NAMES}
    return {"seed": seed, "seconds": json.loads(clock.read_text()), "runs": runs}


def table(outcomes: list[dict]) -> pd.DataFrame:
    """Return a row per seed: held-out whole answers, free, and the steps that each run took."""
    rows = {}
    for each in outcomes:
        row = {}
        for name, result in each["runs"].items():
            row[f"{name}, held-out free"] = percent(result["test.free.exact"])
            row[f"{name}, steps"] = f"{result['steps']:,}"
        first = each["runs"]["next_token"]
        row["next_token, train free"] = percent(first["train.free.exact"])
        row["seconds"] = f"{each['seconds']:.0f}"
        rows[each["seed"]] = row
    frame = pd.DataFrame.from_dict(rows, orient="index")
    frame.index.name = "seed"
    return frame


def summary(outcomes: list[dict]) -> str:
    """Say how often each run was solved, and how far next_token was from chance."""
    lines = []
    for name in NAMES:
        values = [each["runs"][name]["test.free.exact"]["value"] for each in outcomes]
        solved = sum(value >= SOLVED for value in values)
        near = sum(
            abs(value - each["runs"][name]["chance"]) <= 0.05
            for value, each in zip(values, outcomes, strict=True)
        )
        lines.append(
            f"- {name}: solved on held-out problems in {solved} of {len(outcomes)} seeds "
            f"({percent(proportion(solved, len(outcomes)))}), within 5 points of chance in {near}; "
            f"range {100 * min(values):.1f}% to {100 * max(values):.1f}%."
        )
    seconds = [each["seconds"] for each in outcomes]
    lines.append(
        f"- wall time: median {sorted(seconds)[len(seconds) // 2]:.0f} s, longest {max(seconds):.0f} s."
    )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
