"""The decoder contract: from prompts to answers, with a trained model and the objective's heads."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from unforced.data.batch import Batch, Prompts
from unforced.decoding.modes import Writes
from unforced.models.base import Cache, SequenceModel
from unforced.parts import Part
from unforced.registry import DECODERS, Registry

Logits = Float[Tensor, "batch answer vocab"]


class Decoder(Part, ABC):
    """A frozen config with the functions that write answers. It holds no weights.

    `cache`, where a function takes one, holds the first tokens of the prompts already (not the last), so that
    several questions about the same prompts read them once; it is extended. A decoder that cannot use it may
    ignore it.

    writes       how an answer comes about
    objectives   names of objectives that it fits, though they do not name it: for decoders of other packages
    needs_heads  whether decoding needs the objective's heads, so that the model alone cannot do it
    """

    registry: ClassVar[Registry] = DECODERS
    writes: ClassVar[Writes]
    objectives: ClassVar[tuple[str, ...]] = ()
    needs_heads: ClassVar[bool] = False

    @property
    def continues(self) -> bool:
        """Whether it goes on with an answer that begins in the prompt, from the inputs of training."""
        return True

    @property
    def samples(self) -> bool:
        """Whether it draws answers by chance, so that problems with the same prompt get different ones."""
        return False

    def check(self, answer: int) -> None:
        """Raise ValueError, "FIELD: reason", if a setting does not go with answers of `answer` tokens."""

    @abstractmethod
    def decode(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Int[Tensor, "batch room"]:
        """Answer the prompts. What an answer is does not depend on the other prompts."""

    @abstractmethod
    def teacher_forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Return the logits of each answer token, given the true answer before it."""

    def __str__(self) -> str:
        given = {key: value for key, value in self if key != "name" and value != self._default(key)}
        settings = ", ".join(f"{key}={value}" for key, value in given.items())
        return f"{self.name}({settings})" if settings else self.name

    @classmethod
    def _default(cls, key: str) -> object:
        return cls.model_fields[key].get_default(call_default_factory=True)


class ParallelDecoder(Decoder):
    """A decoder that writes an answer in one pass over the prompt: the likeliest token at each position."""

    writes: ClassVar[Literal["one_pass"]] = "one_pass"

    @abstractmethod
    def logits(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Logits:
        """Return the logits of each answer token, given the prompt alone."""

    def decode(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Int[Tensor, "batch room"]:
        """Take the likeliest tokens."""
        return self.logits(model, heads, prompts, cache).argmax(-1)


def next_token_logits(
    model: SequenceModel, batch: Batch, cache: Cache | None = None
) -> Float[Tensor, "batch answer vocab"]:
    """Return the logits of each answer token with the true tokens before it as input."""
    return behind_prompts(model, batch.prompt, batch.prompt_mask, batch.answer[:, :-1], cache)


def behind_prompts(
    model: SequenceModel,
    prompt: Int[Tensor, "batch prompt"],
    real: Bool[Tensor, "batch prompt"] | None,
    inputs: Int[Tensor, "batch inputs"],
    cache: Cache | None = None,
) -> Float[Tensor, "batch inputs+1 vocab"]:
    """Return the logits at the last prompt token and at each of `inputs`; see `states_behind_prompts`."""
    return model.logits(states_behind_prompts(model, prompt, real, inputs, cache))


def states_behind_prompts(
    model: SequenceModel,
    prompt: Int[Tensor, "batch prompt"],
    real: Bool[Tensor, "batch prompt"] | None,
    inputs: Int[Tensor, "batch inputs"],
    cache: Cache | None = None,
) -> Float[Tensor, "batch inputs+1 width"]:
    """Return the states at the last prompt token and at each of `inputs`, which stand behind the prompt.

    real: which prompt tokens are no padding (all, if None).
    """
    tokens, past = torch.cat([prompt, inputs], dim=1), 0 if cache is None else cache.length
    if real is not None:
        real = torch.cat([real, torch.ones_like(inputs, dtype=torch.bool)], dim=1)
    return model.hidden(
        tokens[:, past:],
        padding=real,
        cache=cache,
        query_positions=slice(prompt.shape[1] - 1 - past, tokens.shape[1] - past),
    )
