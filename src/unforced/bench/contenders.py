"""Networks and training loops of other libraries, beside a trainer of ours.

transformers' networks begin with a copy of our weights, and compute what ours do, without dropout.
x-transformers' decoder has the same size, but no biases in attention, and weights of its own.
"""

import importlib
import itertools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from types import MappingProxyType
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from unforced.bench.timing import Take, synchronize, taker
from unforced.config import Run
from unforced.errors import UserError
from unforced.huggingface import import_transformers
from unforced.models.gpt import GPT
from unforced.models.mamba import Mamba
from unforced.objectives.moment import Moment
from unforced.objectives.view import View
from unforced.training.loop import Trainer
from unforced.training.precision import autocast, autocast_dtype
from unforced.training.source import FiniteSource

OURS = "unforced"
_TRANSFORMERS, _X_TRANSFORMERS = "transformers", "x_transformers"


@dataclass(frozen=True)
class Contender:
    """A network of another library, and how it is trained.

    library: the module that it is imported from. network: built beside our trainer. loop: returns what takes
    the network's steps on the trainer's problems; its last argument is an empty folder.
    """

    library: str
    network: Callable[[Trainer], nn.Module]
    loop: Callable[[Trainer, nn.Module, str], Take]

    @property
    def is_installed(self) -> bool:
        """Whether its library is."""
        return find_spec(self.library) is not None

    def taker(self, trainer: Trainer, folder: str) -> Take:
        """Return what takes its steps."""
        return self.loop(trainer, self.network(trainer).to(trainer.device), folder)


def contenders(run: Run) -> Mapping[str, Contender]:
    """Return those that can train what a run does, by name. Raises UserError if there is none."""
    model = run.model
    if isinstance(model, GPT):
        return _DECODERS
    if isinstance(model, Mamba):
        return _STATE_SPACES
    raise UserError(f"model: no library to compare {model.name} with; take gpt or mamba")


def translated(trainer: Trainer) -> Any:
    """Return the network of transformers that computes what our model does, with a copy of its weights."""
    network = trainer.train_module.model.to_transformers()
    network.config.use_cache = False
    return network.train()


def with_eager_attention(trainer: Trainer) -> Any:
    """Return the same with all scores of attention in memory, rather than PyTorch's fused kernels."""
    network = translated(trainer)
    network.set_attn_implementation("eager")
    return network


def with_last_position(trainer: Trainer) -> Any:
    """Return the same with a position more: transformers' Trainer also reads the last token."""
    network = translated(trainer)
    places = network.transformer.wpe.weight.detach()
    network.transformer.wpe = nn.Embedding.from_pretrained(torch.cat([places, places[-1:]]), freeze=False)
    return network


def decoder(trainer: Trainer, flash: bool = True) -> Any:
    """Return x-transformers' decoder of our model's size, with learned positions. flash: fused attention."""
    library: Any = importlib.import_module(_X_TRANSFORMERS)
    config, model = trainer.run.model, trainer.train_module.model
    assert isinstance(config, GPT)
    layers = library.Decoder(
        dim=config.width,
        depth=config.layers,
        heads=config.num_heads,
        attn_dim_head=config.width // config.num_heads,
        attn_flash=flash,
        verbose=False,
    )
    return library.TransformerWrapper(
        num_tokens=model.vocab_size,
        max_seq_len=trainer.train_module.length,
        tie_embedding=config.tie_embeddings,
        attn_layers=layers,
    )


def plain_loop(trainer: Trainer, network: nn.Module, folder: str = "") -> Take:
    """Return what takes steps of a plain loop: autocast, the answer's loss, clipping, fused AdamW."""
    run = trainer.run
    steps = itertools.count()
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=run.learning_rate, betas=run.betas, weight_decay=run.weight_decay, fused=True
    )

    def step() -> None:
        view = next_view(trainer, next(steps))
        with autocast(run, trainer.device):
            loss = answer_loss(network, view)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), run.clip_norm or math.inf)
        optimizer.step()
        optimizer.zero_grad()

    return taker(step, trainer.device)


def next_view(trainer: Trainer, step: int) -> View:
    """Return the inputs and targets of a step, as our objective lays them out."""
    batch = trainer.source.batch(step, slice(None))
    return trainer.run.objective.view(batch, Moment(len(batch), device=trainer.device))


def answer_loss(network: nn.Module, view: View) -> Float[Tensor, ""]:
    """Return the mean loss over the answer's tokens, in nats."""
    found = network(view.inputs)
    logits: Float[Tensor, "batch time vocab"] = found if isinstance(found, Tensor) else found.logits
    asked = logits[:, view.query_positions]
    return F.cross_entropy(asked.flatten(0, 1).float(), view.targets.flatten())


def their_trainer(trainer: Trainer, network: nn.Module, folder: str) -> Take:
    """Return what takes steps of transformers' Trainer: its usual collation, no logs, no evaluations.

    What a call does before its first step, and this step, in which the optimiser fills its memory, is not
    counted.
    """
    transformers = import_transformers("unforced bench")
    base: Any = transformers.TrainerCallback
    rows = labelled(trainer)
    device = trainer.device

    class Clock(base):  # type: ignore[misc]
        """Runs from the end of the first step to that of the last."""

        begun = seconds = 0.0

        def on_step_end(self, _: Any, state: Any, *__: Any, **___: Any) -> None:
            if state.global_step in (1, state.max_steps):
                synchronize(device)
                self.seconds = time.perf_counter() - self.begun
            if state.global_step == 1:
                self.begun = time.perf_counter()

    def take(steps: int) -> float:
        clock = Clock()
        arguments = training_arguments(trainer, folder, steps + 1)
        theirs = transformers.Trainer(model=network, args=arguments, train_dataset=rows, callbacks=[clock])
        theirs.remove_callback(transformers.PrinterCallback)
        theirs.train()
        return clock.seconds

    return take


def training_arguments(trainer: Trainer, folder: str, steps: int) -> Any:
    """Return the settings of transformers' Trainer that are those of our run."""
    run, device = trainer.run, trainer.device
    return import_transformers("unforced bench").TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        lr_scheduler_type="constant",
        adam_beta1=run.betas[0],
        adam_beta2=run.betas[1],
        weight_decay=run.weight_decay,
        max_grad_norm=run.clip_norm or 0.0,
        optim="adamw_torch_fused",
        bf16=autocast_dtype(run, device) == torch.bfloat16,
        use_cpu=device.type == "cpu",
        dataloader_pin_memory=device.type == "cuda",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )


def labelled(trainer: Trainer) -> list[dict[str, Tensor]]:
    """Return the training problems as transformers takes them: labels are -100 where no loss is wanted."""
    source = trainer.source
    assert isinstance(source, FiniteSource)
    examples = source.examples.map(lambda tensor: tensor.cpu())
    assert examples.prompt_mask is None
    ids = torch.cat([examples.prompt, examples.answer], dim=1)
    labels = ids.clone()
    labels[:, : examples.prompt.shape[1]] = -100
    if examples.answer_mask is not None:
        labels[:, examples.prompt.shape[1] :][~examples.answer_mask] = -100
    columns = {"input_ids": ids, "labels": labels, "attention_mask": torch.ones_like(ids)}
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


_DECODERS = MappingProxyType(
    {
        "transformers GPT-2, plain loop": Contender(_TRANSFORMERS, translated, plain_loop),
        "transformers GPT-2, plain loop, eager attention": Contender(
            _TRANSFORMERS, with_eager_attention, plain_loop
        ),
        "transformers GPT-2, Trainer": Contender(_TRANSFORMERS, with_last_position, their_trainer),
        "x-transformers decoder, plain loop": Contender(_X_TRANSFORMERS, decoder, plain_loop),
        "x-transformers decoder, plain loop, no flash attention": Contender(
            _X_TRANSFORMERS, partial(decoder, flash=False), plain_loop
        ),
    }
)
_STATE_SPACES = MappingProxyType(
    {"transformers Mamba, plain loop": Contender(_TRANSFORMERS, translated, plain_loop)}
)
