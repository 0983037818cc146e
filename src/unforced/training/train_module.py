"""What is trained: the model and the objective's heads, behind one forward pass that returns the loss."""

import contextlib
import hashlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.config import Run
from unforced.config.run import check_length
from unforced.data.batch import Batch
from unforced.errors import UserError
from unforced.models.base import SequenceModel
from unforced.objectives.view import View
from unforced.tasks.sampling import all_problems

_PART = 4096


def _check_room(run: Run, length: int) -> None:
    """Name the longest of the problems that are listed, if it is longer than the model reads.

    length: of the sequences that the run feeds. Raises UserError.
    """
    most, listed = run.model.most_tokens, all_problems(run.task)
    if most is None or length <= most or listed is None:
        return
    starts = range(0, len(listed), _PART)
    batches = (run.codec.encode(listed.take(slice(i, i + _PART)), run.order) for i in starts)
    prompts, answers = torch.cat([_sizes(batch) for batch in batches], dim=1)
    if _excess(answers) > _excess(prompts):
        kind, other, sizes, room = "answer", "the longest prompt", answers, _room_for_answers(run, most)
    else:
        kind, other, sizes, room = (
            "prompt",
            "the room for answers",
            prompts,
            most - length + int(prompts.max()),
        )
    longest, over = int(sizes.argmax()), int((sizes > room).sum())
    raise UserError(
        f"{run.task.place(listed, longest) or run.task}: the {kind} has {int(sizes[longest])} tokens, and "
        f"{run.model.origin.name} reads {max(room, 0)} beside {other} ({most} in all); "
        f"{over} {kind}{' is' if over == 1 else 's are'} too long: shorten or drop "
        f"{'it' if over == 1 else 'them'}, or take a model with more positions"
    )


def _sizes(batch: Batch) -> Int[Tensor, "2 batch"]:
    """Count the tokens of prompts and of answers, without the one that ends an answer."""
    whole = torch.full((len(batch),), batch.prompt.shape[1])
    prompts = whole if batch.prompt_mask is None else batch.prompt_mask.sum(dim=1)
    return torch.stack([prompts, batch.answer_lengths[:, 0] - int(batch.end is not None)])


def _excess(sizes: Int[Tensor, " count"]) -> int:
    """Say by how much the longest exceeds the median."""
    return int(sizes.max() - sizes.median())


def _room_for_answers(run: Run, most: int) -> int:
    """Return the tokens of the longest answers that fit behind the longest prompt; the end takes one more."""
    codec, length = run.codec, run.objective.sequence_length
    fitting = (
        tokens for tokens in range(codec.answer_length, 0, -1) if length(codec.prompt_length, tokens) <= most
    )
    return next(fitting, 1) - (codec.end is not None)


class TrainModule(nn.Module):
    """A model and an objective's heads: everything that a run trains, and the frozen weights.

    empty: build it without weights, to count operations. Raises UserError: a setting does not go with the
    length of answers in the model's tokens.
    """

    def __init__(self, run: Run, empty: bool = False) -> None:
        super().__init__()
        codec = run.codec
        try:
            check_length(run.objective, run.decoding, codec.answer_length)
        except ValueError as error:
            raise UserError(str(error)) from None
        self.objective = run.objective
        self.length = run.objective.sequence_length(codec.prompt_length, codec.answer_length)
        _check_room(run, self.length)
        build = run.model.build_empty if empty else run.model.build
        self.model = build(codec.vocab_size, self.length)
        with torch.device("meta") if empty else contextlib.nullcontext():
            self.heads = run.objective.build_heads(self.model.trunk())

    def select_kernels(
        self, device: torch.device, dtype: torch.dtype, known: Mapping[str, str] = MappingProxyType({})
    ) -> dict[str, str]:
        """Select the kernels of the model, and of other models among the heads; see SequenceModel."""
        for part in self.heads.modules():
            if isinstance(part, SequenceModel):
                part.select_kernels(device, dtype, self.length, known)
        return self.model.select_kernels(device, dtype, self.length, known)

    def forward(self, view: View) -> Mapping[str, Float[Tensor, " batch"]]:
        """Return the summed losses of each row of a view, by term."""
        return self.objective.loss(self.model, self.heads, view)

    def trained(self) -> dict[str, nn.Parameter]:
        """Every parameter that is trained, by name; shared ones once."""
        return {name: parameter for name, parameter in self.named_parameters() if parameter.requires_grad}

    @cached_property
    def frozen_sha256(self) -> str | None:
        """Hash of every tensor that is not trained; None where all are."""
        frozen = {
            name: parameter for name, parameter in self.named_parameters() if not parameter.requires_grad
        }
        digest = hashlib.sha256()
        for name, tensor in sorted(frozen.items()):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.detach().contiguous().cpu().flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest() if frozen else None

    def weights(self) -> dict[str, Tensor]:
        """Every tensor that building the train_module again does not give: what is trained, and buffers."""
        return self.trained() | dict(self.named_buffers())


def loss_of(train_module: TrainModule, view: View) -> Float[Tensor, ""]:
    """Return the loss of a view alone: the weighted means of its terms."""
    rows = train_module(view)
    means = [term.weight * rows[name].sum() / term.count.sum() for name, term in view.terms.items()]
    return torch.stack(means).sum()


def build_train_module(run: Run) -> TrainModule:
    """Build the train_module with the initial weights that the run's seed decides."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.seed)
        return TrainModule(run)
