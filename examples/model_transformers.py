"""A model of one's own: a class of transformers, trained from scratch.

unforced train examples/model_transformers.py:recipe --out runs/llama
"""

from typing import ClassVar, Literal

from pydantic import Field
from transformers import LlamaConfig, LlamaForCausalLM

import unforced as uf
from unforced.models.base import FromScratch
from unforced.models.transformers_model import TransformersModel


class Llama(FromScratch):
    """A small Llama. Source: arXiv 2302.13971, Sec. 2.2."""

    name: Literal["llama"] = "llama"
    layers: int = Field(2, ge=1, description="layers")
    width: int = Field(64, ge=2, description="size of the hidden states")
    heads: int = Field(2, ge=1, description="attention heads")
    attends: ClassVar[frozenset[str]] = TransformersModel.attends

    def build(self, vocab_size, max_length):
        """Draw fresh weights."""
        config = LlamaConfig(
            vocab_size=vocab_size,
            hidden_size=self.width,
            intermediate_size=4 * self.width,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            max_position_embeddings=max_length,
            attn_implementation="sdpa",
        )
        model = TransformersModel(LlamaForCausalLM(config), {}, max_length)
        model.skip_masks()  # they are built here
        return model


def recipe():
    """The quickstart's task."""
    return uf.recipe("quickstart.next_token").replace(model=Llama())
