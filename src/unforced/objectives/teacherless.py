"""Teacherless training: the whole answer at once, from the prompt and dummy tokens.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  $  $              targets 1 7 9
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import Cache, SequenceModel
from unforced.objectives.base import Logits, Objective
from unforced.objectives.losses import answer_loss
from unforced.objectives.moment import Moment
from unforced.objectives.view import View, answer_logits, lay_out


class Teacherless(Objective):
    """Train on sum_i log p(r_i | p, $_<i); decode in one parallel pass over the same inputs.

    Source: arXiv 2403.06963, Sec. 5; arXiv 2311.13581.
    """

    reads_answer: ClassVar[bool] = False
    forced_note: ClassVar[str] = (
        "teacherless training never gives the true answer as input, so forced asks what was not trained"
    )

    decoding_recipe: ClassVar[str] = """\
# All at once: a dummy stands for each answer token but the last. generate() would ask what was never trained.
dummies = tokenizer.mask_token * (answer_length - 1)
answers = []
for prompt in prompts:
    with torch.no_grad():
        logits = model(**tokenizer(prompt + dummies, return_tensors="pt")).logits
    answers.append(logits[0, -answer_length:].argmax(-1))
"""

    name: Literal["teacherless"] = "teacherless"

    @property
    def shows(self) -> Literal["nothing"]:
        """The prompt alone."""
        return "nothing"

    def view(self, batch: Batch, moment: Moment) -> View:
        """Feed a dummy for every answer token but the last."""
        return lay_out(batch, _dummies(batch), self.weights(batch))

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer."""
        return answer_loss(model, view)

    def decode(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Int[Tensor, "batch answer"]:
        """Answer in one pass."""
        return self.predict(model, heads, batch, cache).argmax(-1)

    def predict(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Feed dummies."""
        return answer_logits(model, lay_out(batch, _dummies(batch)), cache)

    def forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Feed the true answer, which this objective never does in training."""
        return answer_logits(model, lay_out(batch, batch.answer[:, :-1]), cache)


def _dummies(batch: Batch) -> Int[Tensor, "batch inputs"]:
    return torch.full_like(batch.answer[:, :-1], batch.dummy)
