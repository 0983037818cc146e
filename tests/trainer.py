"""One optimiser step by transformers' Trainer and by our own loop, on the same rows, model and heads."""

import contextlib
import copy
import gc
import tempfile
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import torch
from torch.utils.data import SequentialSampler
from transformers import TrainerCallback, TrainingArguments

from tests.every_objective import every_objective
from tests.pretrained import saved_with_tokenizer
from tests.runs import tiny_run
from unforced.errors import UserError
from unforced.integrations.fitting import check_objective
from unforced.integrations.transformers import ObjectiveTrainer
from unforced.models.pretrained import Pretrained
from unforced.objectives.moment import Moment
from unforced.objectives.registers import Registers
from unforced.tasks.path_star import PathStar
from unforced.training.train_module import build_train_module, loss_of

ROWS = 8
SEED = 3
USUAL = {"max_steps": 1, "report_to": [], "disable_tqdm": True, "save_strategy": "no", "seed": SEED}
USUAL |= {"logging_steps": 1, "max_grad_norm": 0.0, "optim": "sgd", "learning_rate": 0.0, "use_cpu": True}


def offered():
    """The objectives that the Trainer takes, by name."""
    found = {}
    for name, objective in every_objective().items():
        try:
            check_objective(objective)
        except UserError:
            continue
        found[name] = objective
    return found


@dataclass(frozen=True)
class Found:
    """The loss of a step, and the gradient that the optimiser sees."""

    loss: float
    gradient: dict[str, torch.Tensor]
    terms: tuple[str, ...] = ()


@dataclass(frozen=True)
class Problem:
    """Rows of text, and what trains on them: a model with its heads, and what our loop finds."""

    objective: Any
    network: Any
    tokenizer: Any
    heads: dict[str, torch.Tensor]
    rows: list[dict[str, str]]
    own: Found


@cache
def _base(folder):
    """A run on text, with all special tokens that objectives feed, and its model."""
    task = PathStar(degree=2, path_length=3, num_nodes=120)
    model = Pretrained(name_or_path=folder)
    run = tiny_run().replace(task=task, model=model, objective=Registers(), batch_size=ROWS, seed=SEED)
    return run, build_train_module(run)


def problem(objective, network=None, folder=None):
    """Let our loop find the gradient of an objective on rows of different lengths.

    network: of the base's shape, in its place. folder: of the base.
    """
    run, train_module = copy.deepcopy(_base(folder or saved_with_tokenizer("gpt2")))
    if network is not None:
        train_module.model.network.load_state_dict(network.state_dict())
    network = train_module.model.to_transformers()
    torch.manual_seed(SEED)
    train_module.objective, train_module.heads = objective, objective.build_heads(train_module.model.trunk())
    heads = copy.deepcopy(train_module.heads.state_dict())
    problems = run.task.sample(np.random.default_rng(0), ROWS)
    view = objective.view(run.codec.encode(problems, run.order), Moment(ROWS, seed=SEED))
    loss = loss_of(train_module, view)
    loss.backward()
    gradient = {name: each.grad for name, each in train_module.model.network.named_parameters()}
    gradient |= {f"unforced_heads.{name}": each.grad for name, each in train_module.heads.named_parameters()}
    rows = [{"prompt": prompt, "answer": answer} for prompt, answer in run.task.texts(problems, run.order)]
    tokenizer = run.codec.build_tokenizer(train_module.length)
    own = Found(loss.item(), gradient, tuple(view.terms))
    return Problem(objective, network, tokenizer, heads, rows, own)


@contextlib.contextmanager
def _little_garbage():
    """Let a Trainer, which collects garbage at each step, look at its own alone."""
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


class InOrder(ObjectiveTrainer):
    """One that reads rows in their order."""

    def _get_train_sampler(self, *arguments):
        return SequentialSampler(self.train_dataset)


class Remember(TrainerCallback):
    """Keeps the gradient of the last step."""

    def __init__(self):
        self.gradient = {}

    def on_pre_optimizer_step(self, args, state, control, model=None, **others):
        model = getattr(model, "module", model)
        self.gradient = {
            name: each.grad.clone() for name, each in model.named_parameters() if each.grad is not None
        }


def arguments(folder=None, **options):
    return TrainingArguments(folder or tempfile.mkdtemp(prefix="unforced-trainer-"), **(USUAL | options))


def step(asked, rows, parts, kind=InOrder, model=None, args=None):
    """Take one step with batches of `rows`, `parts` of them in turn; return what the Trainer finds."""
    remember = Remember()
    sizes = {"per_device_train_batch_size": rows, "gradient_accumulation_steps": parts}
    trainer = kind(
        asked.network if model is None else model,
        arguments(**sizes) if args is None else args,
        objective=asked.objective,
        train_dataset=asked.rows,
        processing_class=asked.tokenizer,
        callbacks=[remember],
    )
    trainer.heads.load_state_dict(asked.heads)
    with _little_garbage():
        trainer.train()
    logged = next(line for line in trainer.state.log_history if "loss" in line)
    return Found(logged["loss"], remember.gradient)


def assert_same(found, own, tolerance=1e-5):
    assert abs(found.loss - own.loss) < tolerance * max(1.0, abs(own.loss)), (found.loss, own.loss)
    assert found.gradient.keys() == {name for name, each in own.gradient.items() if each is not None}
    for name, each in found.gradient.items():
        scale = max(1.0, own.gradient[name].abs().max().item())
        assert (each - own.gradient[name]).abs().max() < tolerance * scale, name
