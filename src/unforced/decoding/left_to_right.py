"""Decoders that write token by token, with a cache."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.batch import Batch, Prompts
from unforced.decoding.base import Decoder, Logits, states_behind_prompts
from unforced.decoding.noise import gumbel
from unforced.models.base import Cache, SequenceModel

Output = Callable[[Float[Tensor, "batch chosen width"], Int[Tensor, "batch chosen"]], Logits]
"""Takes the model's states at some tokens, and these tokens; returns logits of the token behind each."""


class LeftToRightDecoder(Decoder):
    """A decoder that writes token by token, from left to right: each is the model's input for the next.

    The prompt is read once, then one token at a time. The noise of a sample is a function of the seed, the
    problem's number and the position: neither the batch nor its size changes an answer.
    """

    writes: ClassVar[Literal["left_to_right"]] = "left_to_right"
    temperature: float = Field(0.0, ge=0, description="of sampling (0: the likeliest token each time)")
    top_k: int | None = Field(None, ge=1, description="sample from so many likeliest tokens (null: all)")
    seed: int = Field(0, ge=0, lt=2**63, description="decides the noise of sampling")

    @model_validator(mode="after")
    def _check(self) -> "LeftToRightDecoder":
        if self.top_k is not None and not self.temperature:
            raise ValueError("top_k: temperature 0 takes the likeliest token; give a temperature, as in 1")
        return self

    @property
    def samples(self) -> bool:
        """Above temperature 0."""
        return self.temperature > 0

    @abstractmethod
    def output(self, model: SequenceModel, heads: nn.Module, specials: Mapping[str, int]) -> Output:
        """Return what makes logits of the model's states; called once for the prompts of a batch.

        specials: ids of the special tokens that the objective asked for, by name.
        """

    def decode(
        self, model: SequenceModel, heads: nn.Module, prompts: Prompts, cache: Cache | None = None
    ) -> Int[Tensor, "batch room"]:
        """Feed the model its own output, as far as there is room: what stands behind an `end` is ignored."""
        prompt, room, real = prompts.tokens.shape[1], prompts.room, prompts.mask
        cache = model.new_cache(len(prompts), prompt + room - 1) if cache is None else cache
        tokens, written = prompts.tokens[:, cache.length :], prompts.tokens.new_empty((len(prompts), room))
        output = self.output(model, heads, prompts.specials)
        for i in range(room):
            hidden = model.hidden(tokens, padding=real, cache=cache, query_positions=slice(-1, None))
            written[:, i] = self._choose(output(hidden, tokens[:, -1:])[:, 0], prompts, i)
            tokens = written[:, i : i + 1]
            if real is not None:
                real = torch.cat([real, torch.ones_like(tokens, dtype=torch.bool)], dim=1)
        return written

    def _choose(
        self, logits: Float[Tensor, "batch vocab"], prompts: Prompts, position: int
    ) -> Int[Tensor, " batch"]:
        if not self.temperature:
            return logits.argmax(-1)
        if self.top_k is None:
            tokens = torch.arange(logits.shape[1], device=logits.device)[None]
        else:
            logits, tokens = logits.topk(min(self.top_k, logits.shape[1]))
        noise = gumbel(self.seed, prompts.numbers, position, tokens)
        chosen = (logits.float() / self.temperature + noise).argmax(-1, keepdim=True)
        return tokens.expand(logits.shape).gather(1, chosen)[:, 0]

    def teacher_forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Feed the true answer."""
        fed = batch.answer[:, :-1]
        hidden = states_behind_prompts(model, batch.prompt, batch.prompt_mask, fed, cache)
        return self.output(model, heads, batch.specials)(hidden, torch.cat([batch.prompt[:, -1:], fed], 1))
