"""Next-token prediction with teacher forcing.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import Cache, SequenceModel
from unforced.objectives.base import Logits, Objective
from unforced.objectives.decoding import autoregressive
from unforced.objectives.losses import answer_loss
from unforced.objectives.moment import Moment
from unforced.objectives.view import View, answer_logits, lay_out


class NextToken(Objective):
    """Train on sum_i log p(r_i | p, r_<i), the answer alone; decode greedily, token by token.

    Source: arXiv 2403.06963, Sec. 2, Eq. 2.
    """

    decoding_recipe: ClassVar[str] = """\
# Token by token: the model reads what it has written itself.
answers = []
for prompt in prompts:
    inputs = tokenizer(prompt, return_tensors="pt")
    written = model.generate(**inputs, do_sample=False, max_new_tokens=answer_length)
    answers.append(written[0, inputs.input_ids.shape[1] :])
"""

    name: Literal["next_token"] = "next_token"

    @property
    def shows(self) -> Literal["prefix"]:
        """All of the answer before a token."""
        return "prefix"

    def view(self, batch: Batch, moment: Moment) -> View:
        """Feed the true answer up to its last token."""
        return lay_out(batch, batch.answer[:, :-1], self.weights(batch))

    def loss(
        self, model: SequenceModel, heads: nn.Module, view: View
    ) -> Mapping[str, Float[Tensor, " batch"]]:
        """Cross-entropy of the answer."""
        return answer_loss(model, view)

    def decode(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Int[Tensor, "batch answer"]:
        """Feed the model its own output."""
        return autoregressive(model, batch, cache)

    def predict(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Training is forced."""
        return self.forced(model, heads, batch, cache)

    def forced(
        self, model: SequenceModel, heads: nn.Module, batch: Batch, cache: Cache | None = None
    ) -> Logits:
        """Feed the true answer."""
        return answer_logits(model, lay_out(batch, batch.answer[:, :-1]), cache)
