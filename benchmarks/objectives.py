"""What objectives and decoders cost: FLOPs, training speed against next-token prediction, answers a second.

    python -m benchmarks.objectives [--quick] [OBJECTIVE ...]

All objectives with their default settings, every kind of heads at the longest horizon, and block sizes of
masked diffusion, if no objective is named; on G(2,5), N=50, batch 64: the quickstart's model (4 layers, width
64) and 6 layers of width 384. Next-token prediction is trained in turn with each of them, in this process.
--quick: the small model alone, fewer rounds.
"""

import math
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import torch

from unforced.bench import plan
from unforced.bench.timing import timed
from unforced.config import Run
from unforced.errors import UserError
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.recipes import resolve_run
from unforced.registry import HEADS, OBJECTIVES
from unforced.reporting.tables import in_units
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.flops import answer_flops_of, flops_of, flops_per_answer, some_problems
from unforced.training.loop import Trainer
from unforced.training.precision import autocast_dtype
from unforced.training.source import split_problems

BASE = "next_token"
PROBLEMS = ["stream=true", "batch_size=64", "task.path_length=5", "task.num_nodes=50", "stop_when=never"]
SIZES = {
    "4 layers, width 64": PROBLEMS,
    "6 layers, width 384": [*PROBLEMS, "model.layers=6", "model.width=384", "model.heads=6"],
}
TARGETS = {"teacherless": 0.95, "mixture": 0.95, "token_order": 0.8, "future_summary": 0.9}
TARGETS |= {"multi_token, shared": 0.95}
OTHERS = 0.7
"""The target of all others: this share of the speed that their FLOPs would allow."""


@dataclass(frozen=True)
class Case:
    """An objective, and what it is called in a table."""

    name: str
    run: Run

    def target(self) -> float:
        """The least training speed that is wanted, relative to next-token prediction."""
        base = flops_of(self.run.replace(objective=BASE))
        return TARGETS.get(self.name, OTHERS * base / flops_of(self.run))


def main(
    names: Sequence[str] = (),
    sizes: Mapping[str, Sequence[str]] = SIZES,
    rounds: int = 7,
    seconds: float = 0.3,
    num_problems: int = 512,
) -> None:
    """Measure and print. seconds: that next-token prediction is trained for in each round."""
    keep_freed_memory()
    for size, overrides in sizes.items():
        cases = [case for name in names or OBJECTIVES.names() for case in cases_of(name, overrides)]
        base = trainer_of(resolve_run("quickstart.next_token", overrides))
        dtype = autocast_dtype(base.run, base.device)
        print(f"\n{size}, {base.run.task}, batch {base.run.batch_size}, {base.device}, {dtype}, ", end="")
        print(f"{torch.get_num_threads()} threads, PyTorch {torch.__version__}")
        trainers = {case: trainer_of(case.run) for case in cases}
        show_training(base, trainers, rounds, seconds)
        show_decoding(trainers, rounds, num_problems)


def cases_of(name: str, overrides: Sequence[str]) -> Iterator[Case]:
    """Yield an objective with its default settings, and its variants."""
    kind = OBJECTIVES.get(name)
    yield Case(name, resolve_run("quickstart.next_token", [*overrides, f"objective={name}"]))
    if "heads" in kind.model_fields:
        for heads in HEADS.names():
            chosen = [*overrides, f"objective={name}", f"objective.heads={heads}"]
            yield Case(f"{name}, {heads}", _with_longest_horizon(chosen))
    if "block_size" in kind.model_fields:
        for size in (1, 2):
            chosen = [*overrides, f"objective={name}", f"objective.block_size={size}"]
            yield Case(f"{name}, block size {size}", resolve_run("quickstart.next_token", chosen))


def _with_longest_horizon(overrides: Sequence[str]) -> Run:
    """Return the run whose heads look as far ahead as answers allow."""
    for horizon in range(5, 2, -1):
        try:
            return resolve_run("quickstart.next_token", [*overrides, f"objective.horizon={horizon}"])
        except UserError:
            continue
    return resolve_run("quickstart.next_token", overrides)


def trainer_of(run: Run) -> Trainer:
    """Return a trainer that writes nothing and has taken a step."""
    trainer = plan.trainer_of(run)
    trainer.step()
    return trainer


def show_training(base: Trainer, trainers: Mapping[Case, Trainer], rounds: int, seconds: float) -> None:
    """Train in turn, and print a row per objective."""
    steps = max(1, math.ceil(seconds / train(base, 2) * 2))
    ratios: dict[Case, list[float]] = {case: [] for case in trainers}
    speeds: dict[Case, list[float]] = {case: [] for case in trainers}
    for number in range(rounds):
        for case, trainer in trainers.items():
            pair = [base, trainer] if number % 2 else [trainer, base]  # neither is always the first
            taken = {part: train(part, steps) for part in pair}
            ratios[case].append(taken[base] / taken[trainer])
            speeds[case].append(steps * case.run.batch_size / taken[trainer])
    print(f"{'training':<28}{'FLOPs a sample':>15}{'samples/s':>11}  relative speed            target")
    base_flops = flops_of(base.run)
    for case in trainers:
        flops, target = flops_of(case.run), case.target()
        middle, low, high = statistics.median(ratios[case]), min(ratios[case]), max(ratios[case])
        verdict = "met" if middle >= target else "missed"
        print(
            f"{case.name:<28}{flops / base_flops:>15.2f}{statistics.median(speeds[case]):>11,.0f}"
            f"  {middle:.2f} ({low:.2f} to {high:.2f}){'':7}{target:.2f} {verdict}"
        )


def train(trainer: Trainer, steps: int) -> float:
    """Return the seconds that some steps take."""
    with flushed_denormals():
        return timed(lambda: [trainer.step() for _ in range(steps)], trainer.device)


def show_decoding(trainers: Mapping[Case, Trainer], rounds: int, num_problems: int) -> None:
    """Answer problems in turn, and print a row per way of decoding."""
    ways = dict(ways_of(trainers))
    times: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, (run, trainer) in ways.items():
            evaluator = Evaluator.of(run, trainer.train_module)
            problems = split_problems(run, "test", num_problems)
            times[name].append(
                timed(lambda: answers(evaluator, problems, evaluator.free), trainer.device)  # noqa: B023
            )
    print(f"{'decoding':<40}{'FLOPs an answer':>17}{'answers/s':>11}")
    for name, (run, trainer) in ways.items():
        speeds = [num_problems / taken for taken in times[name]]
        flops = f"{in_units(_answer_flops(run, trainer))}FLOP"
        print(
            f"{name:<40}{flops:>17}{statistics.median(speeds):>11,.0f}"
            f"  ({min(speeds):,.0f} to {max(speeds):,.0f})"
        )


def ways_of(trainers: Mapping[Case, Trainer]) -> Iterator[tuple[str, tuple[Run, Trainer]]]:
    """Yield each way of decoding once, with the first model that is trained for it; also in one step."""
    known: set[str] = set()
    for case, trainer in trainers.items():
        runs = [case.run]
        if "steps" in type(case.run.decoding).model_fields:
            runs.append(case.run.replace(decoder={"steps": 1}))
        for run in runs:
            way = f"{run.decoding}{' of ' + case.name if run.decoding.needs_heads else ''}"
            if way not in known:
                known.add(way)
                yield way, (run, trainer)


def _answer_flops(run: Run, trainer: Trainer) -> float:
    try:
        return answer_flops_of(run)
    except RuntimeError:  # its steps depend on what it writes
        return flops_per_answer(run, trainer.train_module, some_problems(run))


if __name__ == "__main__":
    quick = "--quick" in sys.argv
    chosen = [argument for argument in sys.argv[1:] if argument != "--quick"]
    few = {"sizes": dict([next(iter(SIZES.items()))]), "rounds": 3} if quick else {}
    main(chosen, **few)
