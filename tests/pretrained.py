"""Tiny models of the families that transformers knows, saved as a user's own would be."""

import tempfile
from functools import cache

import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    GPT2Config,
    GPT2LMHeadModel,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    LlamaConfig,
    LlamaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    MistralConfig,
    MistralForCausalLM,
    T5Config,
    T5ForConditionalGeneration,
)

VOCAB, WIDTH = 11, 16
_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}

CAUSAL = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=VOCAB, n_positions=64, n_embd=WIDTH, n_layer=2, n_head=2)
    ),
    "gpt_neox": lambda: GPTNeoXForCausalLM(
        GPTNeoXConfig(vocab_size=VOCAB, max_position_embeddings=64, **_SIZES)
    ),
    "llama": lambda: LlamaForCausalLM(LlamaConfig(vocab_size=VOCAB, max_position_embeddings=64, **_SIZES)),
    "mamba": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=VOCAB, hidden_size=WIDTH, state_size=4, num_hidden_layers=2)
    ),
}
OTHERS = {
    "mistral": lambda: MistralForCausalLM(MistralConfig(vocab_size=VOCAB, sliding_window=6, **_SIZES)),
    "biased_mamba": lambda: MambaForCausalLM(
        MambaConfig(vocab_size=VOCAB, hidden_size=WIDTH, num_hidden_layers=1, use_bias=True)
    ),
    "bert": lambda: BertForMaskedLM(BertConfig(vocab_size=VOCAB, max_position_embeddings=64, **_SIZES)),
    "t5": lambda: T5ForConditionalGeneration(
        T5Config(vocab_size=VOCAB, d_model=WIDTH, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    ),
}


def save(family, folder):
    """Save a random model of a family, each parameter away from zero and one; return its folder as text."""
    torch.manual_seed(4)
    model = (CAUSAL | OTHERS)[family]().eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "A_log" not in name:
                parameter += 0.2 * torch.randn_like(parameter)
    model.save_pretrained(folder)
    return str(folder)


@cache
def saved(family):
    """Save a random model of a family once, for all tests; return its folder as text."""
    return save(family, tempfile.mkdtemp(prefix=f"unforced-{family}-"))
