"""What is measured: the runs, their sizes, and how long."""

from dataclasses import dataclass
from typing import Any

import torch

from unforced.config import Run
from unforced.models.mamba import Mamba
from unforced.recipes.paper import paper_gpt_mini
from unforced.recipes.quickstart import quickstart
from unforced.tasks.base import Task
from unforced.tasks.path_star import PathStar
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.precision import autocast_dtype
from unforced.training.store import MemoryStore

_SMALL, _MINI = (4, 64, 4), (6, 384, 6)
_PAPER = (12, 384, 6)
"""Layers, width and heads."""


@dataclass(frozen=True)
class Plan:
    """What is measured on a device, and how long.

    training, others, evaluation: the runs of these sections. stacked: a run, and how many of it at once.
    rounds: in which contenders take turns. seconds: that each works for in a round, at least a step.
    starts: of each process.
    """

    device: torch.device
    training: tuple[Run, ...]
    others: tuple[Run, ...]
    evaluation: tuple[Run, ...]
    stacked: Run
    stacks: tuple[int, ...]
    tasks: tuple[Task, ...]
    rounds: int
    seconds: float
    starts: int
    matrix_sizes: tuple[int, ...]
    copied_bytes: int = 2**28

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of matrix products, by the rule of the runs."""
        return autocast_dtype(self.stacked, self.device)


def full_plan(device: torch.device) -> Plan:
    """Everything: within 15 minutes on two cores."""
    g2, g10 = _star(2), _star(10)
    transformers = [gpt_run(task, size, device) for task in (g2, g10) for size in (_SMALL, _MINI, _PAPER)]
    sizes = ((g2, _SMALL), (g2, _MINI), (g10, _SMALL))
    mambas = [mamba_run(task, size, device) for task, size in sizes]
    beside = [*transformers[:3], gpt_run(g10, _MINI, device), mamba_run(g2, _SMALL, device)]
    return Plan(
        device,
        training=(*transformers, *mambas),
        others=tuple(beside),
        evaluation=(*transformers[:2], gpt_run(g10, _MINI, device)),
        stacked=quickstart_run().replace(model={"attention": "math"}),
        stacks=(1, 4, 16, 64) if device.type == "cuda" else (1, 4, 16),
        tasks=(g2, g10),
        rounds=5,
        seconds=0.5,
        starts=3,
        matrix_sizes=_matrix_sizes(device),
    )


def quick_plan(device: torch.device) -> Plan:
    """Small sizes and few rounds: within 2 minutes on two cores."""
    g2 = _star(2)
    small, mamba = gpt_run(g2, _SMALL, device), mamba_run(g2, _SMALL, device)
    return Plan(
        device,
        training=(small, gpt_run(g2, _MINI, device), mamba),
        others=(small, mamba),
        evaluation=(small,),
        stacked=quickstart_run().replace(model={"attention": "math"}),
        stacks=(1, 4),
        tasks=(g2,),
        rounds=3,
        seconds=0.2,
        starts=1,
        matrix_sizes=_matrix_sizes(device),
    )


def gpt_run(task: Task, size: tuple[int, int, int], device: torch.device) -> Run:
    """Return the paper's run at a size. size: layers, width, heads."""
    layers, width, heads = size
    batch = 512 if device.type == "cuda" else 64
    run = paper_gpt_mini().replace(task=task, batch_size=batch, num_train=50 * batch)
    return run.replace(model={"layers": layers, "width": width, "heads": heads})


def mamba_run(task: Task, size: tuple[int, int, int], device: torch.device) -> Run:
    """Return the same with a Mamba."""
    layers, width, _ = size
    return gpt_run(task, size, device).replace(model=Mamba(layers=layers, width=width))


def quickstart_run() -> Run:
    """Return the quickstart's first run."""
    return next(iter(quickstart().values()))


def facts(run: Run) -> dict[str, Any]:
    """Return what a row of results says of a run."""
    model = run.model.model_dump()
    sizes = {key: model[key] for key in ("layers", "width")}
    return {"task": str(run.task), "model": run.model.name, **sizes, "batch": run.batch_size}


def title(run: Run) -> str:
    """Name a run in a line."""
    named = facts(run)
    return f"{named['model']} {named['layers']}x{named['width']}, {named['task']}"


def trainer_of(run: Run) -> Trainer:
    """Return a trainer that writes nothing, with its kernels selected."""
    trainer = Trainer(run, MemoryStore(), start_accelerator(run))
    trainer.select_kernels({})
    return trainer


def _star(degree: int) -> PathStar:
    return PathStar(degree=degree, path_length=5, num_nodes=50)


def _matrix_sizes(device: torch.device) -> tuple[int, ...]:
    return (2048, 4096, 8192) if device.type == "cuda" else (512, 1024, 2048)
