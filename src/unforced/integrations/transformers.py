"""Objectives as losses of transformers' Trainer.

    trainer = ObjectiveTrainer(model, args, objective={"name": NAME}, train_dataset=rows)
    trainer.train()
    trainer.save_model("tuned")  # transformers loads it by itself; heads are in a file beside it

The Trainer's loop, optimiser, checkpoints and launchers stay as they are. Of an optimiser step's loss, this
file decides three things: what the model reads, what is counted, and by how much sums are divided.
"""

import contextlib
import functools
import importlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unforced.errors import UserError
from unforced.integrations.answer_collator import AnswerCollator
from unforced.integrations.fitting import (
    check_batch,
    check_objective,
    contract_of,
    find_special_tokens,
    for_answers,
    longest_tokens,
    masks_left_to_us,
    network_of,
)
from unforced.integrations.forward import COMPUTE, let_compute
from unforced.integrations.labelled_batch import answer_batch
from unforced.integrations.saved import check_checkpoint, load_heads, save_beside
from unforced.integrations.trainer_options import check_options
from unforced.objectives.base import Objective
from unforced.objectives.moment import Moment
from unforced.objectives.view import View
from unforced.parts import read_part
from unforced.training.precision import sum_dtype
from unforced.training.step import term_counts, term_weights

try:
    _transformers: Any = importlib.import_module("transformers")
except ImportError:
    raise UserError("ObjectiveTrainer needs transformers: pip install 'unforced[trainer]'") from None

__all__ = ["AnswerCollator", "ObjectiveMixin", "ObjectiveTrainer"]

_VIEW, _ATTACHED = "unforced_view", "unforced_heads"
_READ = ("input_ids", "attention_mask")
_BaseOfMixin: Any = object  # what it calls of itself and above it is a Trainer's


class ObjectiveMixin(_BaseOfMixin):  # type: ignore[misc]
    """Lets a Trainer of transformers train on an objective; it stands first among the bases of a class.

    The loss of an optimiser step is that of `unforced train`: the sum over terms of weight x total / count,
    both over all rows of the step, whatever gradient_accumulation_steps and the number of processes. Noise is
    a function of (seed, step, row). Heads are trained with the model, saved beside it, and read on resuming.

    objective: one, its name, or its name and settings. special_tokens: ids or texts of tokens that it feeds,
    by name: "mask", and those of `objective.needs`. All other arguments are the Trainer's. Raises UserError
    before training: the objective does not fit the model, or a row cannot be trained on.
    """

    def __init__(
        self,
        *args: Any,
        objective: Objective | str | Mapping[str, Any],
        special_tokens: Mapping[str, str | int] | None = None,
        **options: Any,
    ) -> None:
        self.objective = read_part(Objective, "objective", objective)  # type: ignore[type-abstract]
        check_objective(self.objective)
        if options.get("model_init") is not None:
            raise UserError("model_init: heads are built for one model; give model=")
        super().__init__(*args, **options)
        check_options(self)
        network = network_of(self.model)
        tokenizer = getattr(self.data_collator, "tokenizer", None) or self.processing_class
        given = {} if special_tokens is None else special_tokens
        fed = find_special_tokens(self.objective, network, tokenizer, given)
        self._mask_token, self._specials = fed
        row, answer = longest_tokens(self.data_collator, self.train_dataset, self.eval_dataset, network)
        self.objective = for_answers(self.objective, answer)
        self._contract = contract_of(network, row)
        self.heads = self._build_heads(network)
        self._noted: dict[tuple[str, ...], Tensor] = {}
        self._noted_steps: set[int] = set()
        self._gives_logits = False
        self._streams = self._unread = answer is None
        self.model_accepts_loss_kwargs = True  # a loss is divided by the counts of the whole step already
        let_compute(self.model)

    def _build_heads(self, network: Any) -> nn.Module:
        """Build the heads as the seed decides, on the device and in the dtype of the network's output."""
        weight = network.get_output_embeddings().weight
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.args.seed)
            heads = self.objective.build_heads(self._contract.trunk())
        return heads.to(weight.device, weight.dtype if weight.is_floating_point() else torch.float32)

    def _set_signature_columns_if_needed(self) -> None:
        """Keep the columns that the collator reads."""
        super()._set_signature_columns_if_needed()
        if isinstance(self.data_collator, AnswerCollator):
            wanted = [self.data_collator.prompt_column, self.data_collator.answer_column]
            columns: list[str] = self._signature_columns
            self._signature_columns: Any = [*dict.fromkeys([*columns, *wanted])]

    def get_batch_samples(
        self, epoch_iterator: Iterator[Any], num_batches: int, device: torch.device
    ) -> tuple[list[Any], Any]:
        """Return this process's batches of the next step, laid out, and what divides their losses."""
        samples, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        if not samples:
            return samples, None
        world, own = self.accelerator.num_processes, self.accelerator.process_index
        laid_out = []
        for part, inputs in enumerate(samples):
            inputs = self._prepare_inputs(inputs)
            start = (part * world + own) * self.args.train_batch_size
            laid_out.append({**inputs, _VIEW: self._view(inputs, start)})
        return laid_out, self._shares([inputs[_VIEW] for inputs in laid_out])

    def _view(self, inputs: Mapping[str, Any], start: int) -> View:
        """Lay a batch out, whose first row is number `start` of the step."""
        batch = answer_batch(inputs, self._mask_token, self._specials)
        if self._streams or not self.model.training:  # it waits for the device
            check_batch(inputs, self._contract.network)
        steps = max(1, self.state.max_steps)
        end, step = start + len(batch), min(self.state.global_step, steps - 1)
        moment = Moment(end, slice(start, end), step, steps, self.args.seed, batch.prompt.device)
        return self.objective.view(batch, moment)

    def _shares(self, views: Sequence[View]) -> Float[Tensor, " terms"]:
        """Return what turns the summed losses of each term into shares of the step's mean.

        That is 1 / count, counted here and in all other processes; times their number, since gradients are
        averaged over them.
        """
        counts = self.accelerator.reduce(_counts(views), "sum")
        if self._unread and not counts.any():
            raise UserError(
                "objective: it counts no token of the answers of the first step; give other train_positions"
            )
        self._unread = False
        return self.accelerator.num_processes * _inverse(counts)

    def compute_loss(
        self,
        model: nn.Module,
        inputs: Mapping[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        """Return a batch's share of the loss of its optimiser step; in evaluation, the batch's own loss.

        num_items_in_batch: in training, what `get_batch_samples` returned.
        """
        trains = _VIEW in inputs
        view: View = inputs[_VIEW] if trains else self._view(inputs, 0)
        shares = num_items_in_batch if trains else _inverse(_counts([view]))
        rows = model(**{COMPUTE: functools.partial(self._term_losses, view)})
        means = torch.stack([rows[name].sum() for name in view.terms]).to(shares.dtype) * shares
        if trains:
            self._note(tuple(view.terms), means.detach())
        loss = torch.dot(means, means.new_tensor(term_weights([view]))).float()
        return (loss, self._outputs(model, inputs)) if return_outputs else loss

    def _term_losses(self, view: View) -> Mapping[str, Float[Tensor, " batch"]]:
        with masks_left_to_us(self._contract):
            return self.objective.loss(self._contract, self.heads, view)

    def _outputs(self, model: nn.Module, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the model's logits, if they are asked for."""
        if not self._gives_logits:
            return {}
        return {"logits": model(**{key: inputs[key] for key in inputs if key in _READ}).logits}

    def prediction_step(
        self, model: nn.Module, inputs: Any, prediction_loss_only: bool, *args: Any, **options: Any
    ) -> Any:
        """Return a batch's loss and, unless it alone is asked for, the model's logits and the labels."""
        self._gives_logits = not prediction_loss_only
        try:
            return super().prediction_step(model, inputs, prediction_loss_only, *args, **options)
        finally:
            self._gives_logits = False

    def _note(self, names: tuple[str, ...], means: Float[Tensor, " terms"]) -> None:
        """Remember a part of a step's mean losses until they are logged."""
        before = self._noted.get(names)
        self._noted[names] = means if before is None else before + means
        self._noted_steps.add(self.state.global_step)

    def log(self, logs: dict[str, float], *args: Any, **options: Any) -> None:
        """Log the mean of each term as well, where there are several."""
        steps = len(self._noted_steps)
        if "loss" in logs and steps > 0:
            for names, means in self._noted.items():
                values = (self.accelerator.reduce(means, "mean") / steps).tolist()
                if len(names) > 1:
                    logs |= {f"loss_{name}": value for name, value in zip(names, values, strict=True)}
            self._noted.clear()
            self._noted_steps.clear()
        super().log(logs, *args, **options)

    def train(self, *args: Any, **options: Any) -> Any:
        """Train the model, and the heads as a part of it."""
        self._noted.clear()
        self._noted_steps.clear()
        self.model.add_module(_ATTACHED, self.heads)
        try:
            return super().train(*args, **options)
        finally:
            self.model._modules.pop(_ATTACHED, None)

    @contextlib.contextmanager
    def _without_heads(self) -> Iterator[None]:
        """Let the model be what it was before, within this context."""
        attached = self.model._modules.pop(_ATTACHED, None)
        try:
            yield
        finally:
            if attached is not None:
                self.model.add_module(_ATTACHED, attached)

    def _save(self, output_dir: Any = None, state_dict: Any = None) -> None:
        """Save the model as it was given, and the heads beside it."""
        with self._without_heads():
            super()._save(output_dir, state_dict)
        if self.args.should_save:
            folder = Path(self.args.output_dir if output_dir is None else output_dir)
            specials = {"mask": self._mask_token, **self._specials}
            save_beside(folder, self.heads, self.objective, specials, self.data_collator)

    def _load_from_checkpoint(self, resume_from_checkpoint: Any, model: Any = None) -> None:
        check_checkpoint(Path(resume_from_checkpoint), self.objective)
        with self._without_heads():
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        load_heads(Path(resume_from_checkpoint), self.heads, self.objective)

    def _load_best_model(self) -> None:
        with self._without_heads():
            super()._load_best_model()
        load_heads(Path(self.state.best_model_checkpoint), self.heads, self.objective)


class ObjectiveTrainer(ObjectiveMixin, _transformers.Trainer):  # type: ignore[misc]
    """transformers' Trainer on an objective; data are read by an AnswerCollator if no collator is given."""

    def __init__(
        self, model: Any = None, args: Any = None, data_collator: Any = None, **options: Any
    ) -> None:
        if isinstance(model, str):
            raise UserError(
                f"model: {model!r} is a text; give AutoModelForCausalLM.from_pretrained({model!r})"
            )
        if options.get("model_init") is None:
            network_of(model)
        collator = AnswerCollator() if data_collator is None else data_collator
        if isinstance(collator, AnswerCollator) and collator.tokenizer is None:
            collator = replace(collator, tokenizer=options.get("processing_class"))
        super().__init__(model, args, collator, **options)


def _counts(views: Sequence[View]) -> Float[Tensor, " terms"]:
    names, device = tuple(views[0].terms), views[0].inputs.device
    return torch.stack([term_counts(view, names) for view in views]).sum(0).to(sum_dtype(device))


def _inverse(counts: Float[Tensor, " terms"]) -> Float[Tensor, " terms"]:
    """Return 1 / counts, and 0 where nothing is counted."""
    return (1 / counts).masked_fill(counts == 0, 0.0)
