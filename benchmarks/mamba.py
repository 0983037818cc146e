"""Mamba's training speed and memory against transformers' path without kernels.

    python -m benchmarks.mamba [dotted.key=value ...]

Both train 6 layers, width 384, state 16 on G(2,5), N=50, batch 64: the same batches, dtype and AdamW, in
turn. Memory: the most that a process of its own holds while it trains, libraries and data included. On a
CUDA device, ours also trains with each scan kernel that runs there, and memory is the device's.
"""

import itertools
import json
import math
import resource
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from transformers import MambaConfig, MambaForCausalLM, logging

from benchmarks.training import paper_trainer, timed
from unforced.models.kernels.scan import BACKENDS
from unforced.models.mamba import Mamba
from unforced.objectives.moment import Moment
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.loop import Trainer
from unforced.training.precision import autocast, autocast_dtype

OURS, THEIRS = "unforced", "transformers"
SCAN = "model.scan="


def main(overrides: Sequence[str], rounds: int = 5) -> None:
    """Measure and print, or, called with a name by itself, measure that one's memory."""
    logging.set_verbosity_error()
    if list(overrides[:1]) == ["--memory"]:
        print(json.dumps(memory(*overrides[1:])))
        return
    names = implementations()
    # A process begins with the most that the one which started it has held: so before that holds much.
    held = {name: memory_of_its_own(name, overrides) for name in names}
    trainers = {name: trainer_of(name, overrides) for name in names}
    trainer = trainers[OURS]
    implementation, dtype = trainer.select_kernels({}), autocast_dtype(trainer.run, trainer.device)
    keep_freed_memory()
    steps = {name: step_of(name, trainers[name]) for name in names}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        warm_up(step, trainer.device)
    for _ in range(rounds):
        for name, step in steps.items():
            with flushed_denormals():
                seconds[name].append(timed(step, trainer.device))
    ratios = [theirs / ours for ours, theirs in zip(seconds[OURS], seconds[THEIRS], strict=True)]
    print(f"{trainer.run.task}, batch {trainer.run.batch_size}, {trainer.device}, {dtype}")
    print(f"implementation             {implementation}")
    for name, each in seconds.items():
        speed = trainer.run.batch_size / statistics.median(each)
        print(f"{name:26} {speed:10,.1f} samples/s {held[name] / 2**20:10,.0f} MiB")
    spread = f"({min(ratios):.1f} to {max(ratios):.1f})"
    print(f"unforced / transformers    {statistics.median(ratios):10.1f}   {spread}")


def implementations() -> list[str]:
    """Return what is measured: ours and theirs, and on a CUDA device ours with each scan."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    scans = [f"{SCAN}{name}" for name, each in BACKENDS.items() if each.available(device)]
    return [OURS, THEIRS, *(scans if device.type == "cuda" else [])]


def warm_up(step: Callable[[], object], device: torch.device) -> None:
    """Take a step; on a CUDA device as many as it takes until steps are captured."""
    for _ in range(5 if device.type == "cuda" else 1):
        step()


def memory_of_its_own(name: str, overrides: Sequence[str]) -> int:
    """Return what `memory` returns in a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.mamba", "--memory", name, *overrides]
    return int(json.loads(subprocess.check_output(command)))


def trainer_of(name: str, overrides: Sequence[str]) -> Trainer:
    """Return a trainer of a Mamba of 6 layers and width 384 that writes nothing, with the scan of a name."""
    scan = [name] if name.startswith(SCAN) else []
    trainer = paper_trainer(["model=mamba", "model.layers=6", *overrides, *scan])
    trainer.select_kernels({})
    return trainer


def step_of(name: str, trainer: Trainer) -> Callable[[], object]:
    """Return a function that takes one optimiser step of ours or theirs."""
    return reference_step(trainer) if name == THEIRS else trainer.step


def reference_step(trainer: Trainer) -> Callable[[], object]:
    """Return a step of transformers' Mamba on the trainer's own views."""
    config, run = trainer.run.model, trainer.run
    assert isinstance(config, Mamba)
    model = MambaForCausalLM(
        MambaConfig(
            vocab_size=trainer.train_module.model.vocab_size,
            hidden_size=config.width,
            state_size=config.d_state,
            num_hidden_layers=config.layers,
            use_cache=False,
        )
    ).to(trainer.device)
    steps = itertools.count()
    optimizer = torch.optim.AdamW(model.parameters(), lr=run.learning_rate, fused=True)

    def step() -> None:
        batch = trainer.source.batch(next(steps), slice(None))
        view = run.objective.view(batch, Moment(len(batch)))
        with autocast(run, trainer.device):
            logits = model(view.inputs).logits[:, view.query_positions]
            loss = F.cross_entropy(logits.flatten(0, 1).float(), view.targets.flatten())
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), run.clip_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad()

    return step


def memory(name: str, *overrides: str) -> int:
    """Return the bytes that this process holds at its most while it trains."""
    keep_freed_memory()
    trainer = trainer_of(name, overrides)
    step = step_of(name, trainer)
    for _ in range(3):
        step()
    if trainer.device.type == "cuda":
        return torch.cuda.max_memory_allocated(trainer.device)
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
