"""A network that was trained elsewhere, asked and diagnosed as runs are."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from torch import nn

from unforced.data.codec import Codec
from unforced.data.text import TextCodec
from unforced.decoding.base import Decoder
from unforced.errors import UserError
from unforced.evaluation.diagnosis import diagnose
from unforced.evaluation.diagnostics import does_not_apply
from unforced.evaluation.elsewhere.format import Format
from unforced.evaluation.elsewhere.given import Given, with_room
from unforced.evaluation.evaluator import Evaluator
from unforced.models.networks import evaluated, length_limits, plain_network
from unforced.models.pretrained import behind_the_contract
from unforced.models.transformers_model import TransformersModel
from unforced.objectives.base import Objective
from unforced.objectives.plain import as_plain, unfit_for_causal
from unforced.parts import tree
from unforced.tasks.base import Order, Task
from unforced.wording import Names, typed

SETTINGS: Names = {"model.encoding": "encoding", "model.mask_token": "mask_token", "base": None}
"""What is called otherwise here than in a run, whose fields say how its model reads."""
_NO_CURVE = "the model was trained elsewhere: there is no record of its training"


@dataclass(frozen=True)
class Elsewhere:
    """How a network that was trained elsewhere was given problems of a task."""

    task: Task
    objective: Objective
    order: Order
    decoder: Decoder | None = None
    format: Format = field(default_factory=Format)

    def diagnose(
        self,
        network: Any,
        tokenizer: Any,
        train: Given | None,
        held_out: Given,
        confidence: float,
        name: str | None = None,
    ) -> dict[str, Any]:
        """Diagnose a network as runs are, and say how it was asked. Raises UserError.

        train: None where nobody says which problems it was trained on. name: of the network in errors (None:
        by its class).
        """
        asked_as = as_plain(self.objective, self._decoder())
        if asked_as != self.objective:
            found = replace(self, objective=asked_as).diagnose(
                network, tokenizer, train, held_out, confidence, name
            )
            return {**found, "asked": {**found["asked"], "trained_on": tree(self.objective)}}
        given = [held_out, *filter(None, [train])]
        with self._evaluator(network, tokenizer, given, name) as evaluator:
            known, whole = (None, False) if train is None else (train.problems, train.whole)
            found = diagnose(evaluator, known, held_out.problems, confidence, whole)
            asked = self._facts(evaluator.codec)
        asked |= {"held_out": held_out.source, "train": None if train is None else train.source}
        return {"asked": asked, **found, **dict.fromkeys(("learned", "grokking"), does_not_apply(_NO_CURVE))}

    def _facts(self, codec: Codec) -> dict[str, Any]:
        """Return as JSON values how the network was asked."""
        return {
            "task": tree(self.task),
            "objective": tree(self.objective),
            "order": self.order,
            "encoding": "text" if isinstance(codec, TextCodec) else "symbol",
            "template": (
                codec.template.shown(self.task.text.joint) if isinstance(codec, TextCodec) else None
            ),
            "mask_token": codec.mask_token if self.objective.shows == "nothing" else None,
            "end": codec.end,
        }

    @contextlib.contextmanager
    def _evaluator(
        self, network: Any, tokenizer: Any, given: Sequence[Given], name: str | None
    ) -> Iterator[Evaluator]:
        """Let a network answer the given problems within this context, and leave it as it was.

        Raises UserError.
        """
        network = plain_network(network, "diagnosed by uf.load(FOLDER).diagnose()")
        name = name or f"this {type(network).__name__}"
        size = network.config.get_text_config().vocab_size
        decoder = self._decoder()
        codec = self.format.codec(self.task, self.objective.needs.specials, tokenizer, size, name)
        self._check_mask(codec, size)
        codec = with_room(
            codec, self.objective, self.order, given, length_limits(network.config.get_text_config()), name
        )
        length = self.objective.sequence_length(codec.prompt_length, codec.answer_length)
        weight = next(network.parameters())
        with evaluated(network):
            model = behind_the_contract(network, {}, length)
            if isinstance(model, TransformersModel):
                model.check(name, length)
            yield Evaluator(
                self.task, self.order, self.objective, decoder, model, nn.Identity(), weight.device, codec
            )

    def _decoder(self) -> Decoder:
        """Return what writes answers. Raises UserError: it needs what such a network does not have."""
        decoder = self.objective.decoding(self.decoder)
        if not self.objective.fits(decoder):
            raise UserError(f"decoder: {decoder.name} does not fit the objective {self.objective.name}")
        reason = unfit_for_causal(self.objective, decoder)
        if reason and not decoder.needs_heads:
            raise UserError(
                f"{self.objective.name} {reason}; measure a run of `unforced train`", about="objective"
            )
        if decoder.needs_heads:
            raise UserError(
                f"{self.objective.name} answers by {decoder.name}, with heads of its own, which a causal "
                "language model of transformers does not have; give the objective whose inputs it was "
                "trained on, next_token or teacherless, or a decoder without heads",
                about="objective",
            )
        return decoder

    def _check_mask(self, codec: Codec, size: int) -> None:
        """Refuse a mask token that a network of `size` tokens lacks and needs. Raises UserError."""
        if self.objective.shows == "nothing" and codec.mask_token >= size:
            raise UserError(
                f"{self.objective.name} hides answer tokens behind a mask token, and "
                f"the network has only the tokens 0 to {size - 1}; name the one of training, as in "
                f"{typed('model.mask_token', '<mask>')}",
                about="model.mask_token",
            )
