"""Next-token prediction with teacher forcing.

prompt  1,7|1,4|7,9|4,2/1,9=     answer  1 7 9
inputs  ... =  1  7              targets 1 7 9
"""

from typing import ClassVar, Literal

import numpy as np
from jaxtyping import Int
from torch import Tensor, nn

from unforced.data.batch import Batch
from unforced.models.base import Cache, ModelConfig, SequenceModel
from unforced.objectives.base import Logits, Loss, Objective, answer_cross_entropy
from unforced.objectives.decoding import autoregressive
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

    def sequence_length(self, prompt: int, answer: int) -> int:
        """Prompt and answer; the last token is never read."""
        return prompt + answer - 1

    def build_heads(self, model: ModelConfig, vocab_size: int, max_length: int) -> nn.Module:
        """Nothing."""
        return nn.Identity()

    def view(self, batch: Batch, rng: np.random.Generator) -> View:
        """Feed the true answer up to its last token."""
        return lay_out(batch, batch.answer[:, :-1], self.weights(batch))

    def loss(self, model: SequenceModel, heads: nn.Module, view: View) -> Loss:
        """Cross-entropy of the answer."""
        return answer_cross_entropy(model, view)

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
