"""Mamba's training speed and memory against transformers' path without kernels.

    python -m benchmarks.mamba [dotted.key=value ...]

Both train 6 layers, width 384, state 16 on G(2,5), N=50, batch 64: the same batches, dtype and AdamW, in
turn. Memory: the most that a process of its own holds while it trains, libraries and data included.
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
from unforced.models.mamba import Mamba
from unforced.objectives.moment import Moment
from unforced.training.cpu import flushed_denormals, keep_freed_memory
from unforced.training.loop import Trainer
from unforced.training.precision import autocast, autocast_dtype

OURS, THEIRS = "unforced", "transformers"


def main(overrides: Sequence[str], rounds: int = 5) -> None:
    """Measure and print, or, called with a name by itself, measure that one's memory."""
    logging.set_verbosity_error()
    if list(overrides[:1]) == ["--memory"]:
        print(json.dumps(memory(*overrides[1:])))
        return
    # A process begins with the most that the one which started it has held: so before that holds much.
    held = {name: memory_of_its_own(name, overrides) for name in (OURS, THEIRS)}
    trainer = mamba_trainer(overrides)
    implementation, dtype = trainer.select_kernels({}), autocast_dtype(trainer.run, trainer.device)
    keep_freed_memory()
    steps = {name: step_of(name, trainer) for name in (OURS, THEIRS)}
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for step in steps.values():
        step()
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


def memory_of_its_own(name: str, overrides: Sequence[str]) -> int:
    """Return what `memory` returns in a process that does nothing else."""
    command = [sys.executable, "-m", "benchmarks.mamba", "--memory", name, *overrides]
    return int(json.loads(subprocess.check_output(command)))


def mamba_trainer(overrides: Sequence[str]) -> Trainer:
    """Return a trainer of a Mamba of 6 layers and width 384 that writes nothing."""
    return paper_trainer(["model=mamba", "model.layers=6", *overrides])


def step_of(name: str, trainer: Trainer) -> Callable[[], object]:
    """Return a function that takes one optimiser step of ours or theirs."""
    return trainer.step if name == OURS else reference_step(trainer)


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
    trainer = mamba_trainer(list(overrides))
    trainer.select_kernels({})
    step = step_of(name, trainer)
    for _ in range(3):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main(sys.argv[1:])
