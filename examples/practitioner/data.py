"""Makes a data set: `python -m examples.practitioner.data stations.jsonl`.

Nine stations lie on three lines of three. A prompt says for each station, 0 to 8, which one comes next (`-`:
the line ends there), then where to go. The answer is the whole line to that station:

    {"prompt": "-54-378-0>3", "answer": "243", "split": "train"}

Whoever is given the first station reads off the next ones. The first is what has to be planned.
"""

import argparse
import json
import random
from collections.abc import Iterator
from itertools import pairwise

LINES, STOPS = 3, 3


def problem(rng: random.Random) -> dict[str, str]:
    """Draw the lines, and a station at the end of one of them."""
    stations = rng.sample(range(LINES * STOPS), LINES * STOPS)
    lines = [stations[start : start + STOPS] for start in range(0, len(stations), STOPS)]
    following = {here: str(there) for line in lines for here, there in pairwise(line)}
    plan = "".join(following.get(station, "-") for station in sorted(stations))
    line = rng.choice(lines)
    return {"prompt": f"{plan}>{line[-1]}", "answer": "".join(map(str, line))}


def problems(train: int, held_out: int, seed: int = 0) -> Iterator[dict[str, str]]:
    """Give problems to train on, then problems for validation and for a test, all of them different."""
    rng, seen = random.Random(seed), set[str]()
    for split, count in (("train", train), ("validation", held_out // 10), ("test", held_out)):
        while count:
            drawn = problem(rng)
            if drawn["prompt"] not in seen:
                seen.add(drawn["prompt"])
                count -= 1
                yield {**drawn, "split": split}


def main() -> None:
    """Write problems to the file that the command line names."""
    parser = argparse.ArgumentParser(description="Write problems to a JSONL file.")
    parser.add_argument("file")
    parser.add_argument("--train", type=int, default=20_000)
    parser.add_argument("--held-out", type=int, default=2_000)
    options = parser.parse_args()
    with open(options.file, "w", encoding="utf-8") as file:
        for row in problems(options.train, options.held_out):
            print(json.dumps(row), file=file)


if __name__ == "__main__":
    main()
