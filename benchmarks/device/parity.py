"""Whether a CUDA device trains every objective as a processor does, and how fast.

    python -m benchmarks.device.parity [--rehearse] [OBJECTIVE[:key=value,key=value] | scan:NAME ...]

For each objective (all, and a small Mamba with each scan that is not step by step, if none is named): the
quickstart's model and problems in fp32, 20 steps on the processor, on the device operation by operation,
captured as a CUDA graph, and as one of four runs of a captured stack; the greatest relative difference of
their losses to the processor's; milliseconds a step in bf16 (of the whole stack); then the commands train,
resume, evaluate, diagnose and export on a run folder. Jobs run in processes of their own, several at a time,
so times are those of a shared device.
"""

import itertools
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import torch

from benchmarks.device.verbs import carry_out
from unforced.config.stacking import refusal
from unforced.recipes import resolve_run
from unforced.registry import OBJECTIVES
from unforced.training.captured import CapturedStep
from unforced.training.checkpoint import mean_losses
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.store import MemoryStore
from unforced.training.together import stepper

Losses = Mapping[str, torch.Tensor]
WAYS = ("processor", "eager", "captured", "stacked")
STACK = 4
SCANS = ("parallel", "triton")
MAMBA = ("model=mamba", "model.layers=2", "model.width=64")
TINY = ["model.layers=1", "model.width=16"]
SMALL = ["max_steps=40", "evaluate_every=20", "checkpoint_every=20", "num_evaluate=100", "num_test=400"]


def main(
    names: Sequence[str],
    jobs: int = 8,
    steps: int = 20,
    overrides: Sequence[str] = (),
) -> None:
    """Check the objectives and print a table."""
    names = names or [*OBJECTIVES.names(), *(f"scan:{scan}" for scan in SCANS)]
    ways = (*WAYS, "commands")
    print(f"{'':<28}{'apart from the processor':>30}{'ms a step':>30}")
    print(f"{'objective':<28}" + "".join(f"{way:>10}" for way in WAYS[1:]) * 2 + "  commands")
    with ThreadPoolExecutor(jobs) as pool:
        answers = pool.map(lambda job: in_process(*job, steps, overrides), itertools.product(names, ways))
        for name in names:
            row: Any = {way: next(answers) for way in ways}
            errors = [f"{way}: {row[way]['error']}" for way in row if "error" in row[way]]
            print(_line(name, row) if not errors else f"{name:<28} {'; '.join(errors)}", flush=True)


def _line(name: str, row: Mapping[str, Any]) -> str:
    apart = [_difference(row["processor"]["losses"], row[way]["losses"]) for way in WAYS[1:]]
    times = [row[way]["milliseconds"] for way in WAYS[1:]]
    note = row["captured"]["note"] or row["stacked"]["note"] or row["commands"]["note"]
    columns = [*(f"{each:>10.1e}" for each in apart), *(f"{each:>10.1f}" for each in times)]
    return f"{name:<28}{''.join(columns)}  {note}"


def _difference(expected: Sequence[float], found: Sequence[float]) -> float:
    return max(abs(a - b) / max(abs(a), 1e-3) for a, b in zip(expected, found, strict=True))


def in_process(name: str, way: str, steps: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Do a job in a process of its own; return what it prints last."""
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    if way == "processor":
        environment |= {"ACCELERATE_USE_CPU": "true"}
    command = [sys.executable, "-m", "benchmarks.device.parity", "--job", name, way, str(steps), *overrides]
    done = subprocess.run(command, env=environment, text=True, capture_output=True, check=False)
    try:
        answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, json.JSONDecodeError):
        answer = {"error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return answer


def job(name: str, way: str, steps: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Do one job: train in one way, or go through the commands."""
    overrides = [*settings_of(name, way), *overrides]
    return commands(overrides) if way == "commands" else losses(way, steps, overrides)


def settings_of(name: str, way: str) -> list[str]:
    """Return the overrides of a row; a processor takes the scan that `auto` selects there."""
    part, _, settings = name.partition(":")
    if part == "scan":
        return [*MAMBA, *([] if way == "processor" else [f"model.scan={settings}"])]
    given = [f"objective.{each}" for each in settings.split(",") if each]
    return [f"objective={part}", "model.token_shift=false", *given]  # which transformers could not export


def losses(way: str, steps: int, overrides: Sequence[str]) -> dict[str, Any]:
    """Return the losses of the first steps in fp32, and the time of a step in bf16."""
    take, notes, _ = _taker(way, ["precision=fp32", *overrides])
    values = [mean_losses(take())["loss"] for _ in range(steps)]
    fast, _, device = _taker(way, overrides)
    times = []
    for _ in range(steps):
        started = time.perf_counter()
        fast()
        _wait(device)
        times.append(1000 * (time.perf_counter() - started))
    return {"losses": values, "milliseconds": statistics.median(times), "note": "; ".join(notes)}


def _taker(way: str, overrides: Sequence[str]) -> tuple[Callable[[], Losses], list[str], torch.device]:
    """Return what takes a step of a run and gives its losses, what is said meanwhile, and the device."""
    if way == "stacked":
        return _stack_taker(overrides)
    trainer, notes = _trainer(way, overrides)

    def take() -> Losses:
        trainer.progress.losses.clear()
        trainer.step()
        return trainer.progress.losses

    return take, notes, trainer.device


def _stack_taker(overrides: Sequence[str]) -> tuple[Callable[[], Losses], list[str], torch.device]:
    """Return the same for the first run of a stack; for a run that cannot be stacked, alone."""
    trainers = [_trainer("captured", [*overrides, f"seed={seed}"])[0] for seed in range(STACK)]
    if reason := refusal([trainer.run for trainer in trainers]):
        take, notes, device = _taker("captured", overrides)
        return take, [*notes, f"not stacked: {reason}"], device
    notes, device = [], trainers[0].device
    for trainer in trainers:
        trainer.select_kernels(trainer.run.model.stacked_kernels or {})
    step = stepper(trainers, notes.append)

    def take_all() -> Losses:
        return step()[0].losses

    return take_all, notes, device


def _trainer(way: str, overrides: Sequence[str]) -> tuple[Trainer, list[str]]:
    run = resolve_run("quickstart.next_token", overrides)
    trainer = Trainer(run, MemoryStore(), start_accelerator(run))
    notes: list[str] = []
    if isinstance(trainer.take_step, CapturedStep):
        trainer.take_step.say = notes.append
        if way == "eager":
            trainer.take_step = trainer.take_step.eager
    trainer.select_kernels({})
    return trainer, notes


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()


def commands(overrides: Sequence[str]) -> dict[str, Any]:
    """Train a run, train its second half again from a checkpoint, evaluate, diagnose and export it."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "run"
        train = ["train", "quickstart.next_token", *SMALL, *overrides, "--out", str(folder)]
        _command(*train)
        newest = max((folder / "checkpoints").iterdir())
        first = (newest / "learner.safetensors").read_bytes()
        shutil.rmtree(newest)
        (folder / "result.json").unlink()
        _command(*train, "--resume")
        again = (max((folder / "checkpoints").iterdir()) / "learner.safetensors").read_bytes()
        for verb, *options in (
            ["evaluate"],
            ["diagnose", "--count", "1600"],
            ["export", "--to", f"{name}/exported"],
        ):
            if code := carry_out([verb, str(folder), *options]):
                raise SystemExit(code)  # behind the line that says why
    return {"note": "all, same bytes after resuming" if first == again else "all, other bytes after resuming"}


def _command(*arguments: str) -> None:
    command = [sys.executable, "-m", "unforced", *arguments]
    done = subprocess.run(command, text=True, capture_output=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise SystemExit(f"{arguments[0]}: {last}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--job"]:
        print(json.dumps(job(sys.argv[2], sys.argv[3], int(sys.argv[4]), sys.argv[5:])))
    elif sys.argv[1:2] == ["--rehearse"]:
        main(sys.argv[2:] or ["next_token"], jobs=2, steps=2, overrides=TINY)
    else:
        main(sys.argv[1:])
