"""What is trained: the model and the objective's heads, behind one forward pass that returns the loss."""

import contextlib
import hashlib
from collections.abc import Mapping
from functools import cached_property
from types import MappingProxyType

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unforced.config import Run
from unforced.config.run import check_length
from unforced.errors import UserError
from unforced.models.base import SequenceModel
from unforced.objectives.view import View


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
