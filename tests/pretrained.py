"""Tiny models of the families that transformers knows, saved as a user's own would be.

Their classes are named in full, because transformers imports each when it is first named.
"""

import tempfile
from functools import cache

import numpy as np
import torch
import transformers
from transformers.utils import logging

from tests.tokens import byte_level
from unforced.data.tokenizer import symbol_tokenizer
from unforced.tasks.path_star import PathStar

logging.set_verbosity_error()  # what saving says is not to be taken for what a verb says
logging.disable_progress_bar()

VOCAB, WIDTH = 11, 16
_SIZES = {"hidden_size": WIDTH, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
_MROPE = {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [1, 1, 2]}

CAUSAL = {
    "gpt2": lambda vocab, positions: transformers.GPT2LMHeadModel(
        transformers.GPT2Config(vocab_size=vocab, n_positions=positions, n_embd=WIDTH, n_layer=2, n_head=2)
    ),
    "gpt_neox": lambda vocab, positions: transformers.GPTNeoXForCausalLM(
        transformers.GPTNeoXConfig(vocab_size=vocab, max_position_embeddings=positions, **_SIZES)
    ),
    "llama": lambda vocab, positions: transformers.LlamaForCausalLM(
        transformers.LlamaConfig(vocab_size=vocab, max_position_embeddings=positions, **_SIZES)
    ),
    "mamba": lambda vocab, positions: transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=vocab, hidden_size=WIDTH, state_size=4, num_hidden_layers=2)
    ),
}
OTHERS = {
    "mistral": lambda vocab, positions: transformers.MistralForCausalLM(
        transformers.MistralConfig(vocab_size=vocab, sliding_window=6, **_SIZES)
    ),
    "mixtral": lambda vocab, positions: transformers.MixtralForCausalLM(
        transformers.MixtralConfig(
            vocab_size=vocab, num_key_value_heads=2, num_local_experts=2, sliding_window=None, **_SIZES
        )
    ),
    "granite": lambda vocab, positions: transformers.GraniteForCausalLM(
        transformers.GraniteConfig(
            vocab_size=vocab, max_position_embeddings=positions, logits_scaling=8.0, **_SIZES
        )
    ),
    "opt": lambda vocab, positions: transformers.OPTForCausalLM(
        transformers.OPTConfig(
            vocab_size=vocab,
            hidden_size=WIDTH,
            word_embed_proj_dim=WIDTH,
            ffn_dim=32,
            num_hidden_layers=1,
            num_attention_heads=2,
            max_position_embeddings=positions,
        )
    ),
    "lfm2": lambda vocab, positions: transformers.Lfm2ForCausalLM(
        transformers.Lfm2Config(
            vocab_size=vocab, num_key_value_heads=2, layer_types=["conv", "full_attention"], **_SIZES
        )
    ),
    "jamba": lambda vocab, positions: transformers.JambaForCausalLM(
        transformers.JambaConfig(
            vocab_size=vocab,
            num_key_value_heads=2,
            attn_layer_period=2,
            attn_layer_offset=1,
            num_experts=1,
            use_mamba_kernels=False,
            mamba_d_state=4,
            **_SIZES,
        )
    ),
    "gemma3": lambda vocab, positions: transformers.Gemma3ForConditionalGeneration(
        transformers.Gemma3Config(
            text_config={
                "vocab_size": vocab,
                "max_position_embeddings": positions,
                "num_key_value_heads": 1,
                "head_dim": 8,
                **_SIZES,
            },
            vision_config={"image_size": 16, "patch_size": 8, **_SIZES},
            mm_tokens_per_image=4,
        )
    ),
    "llava": lambda vocab, positions: transformers.LlavaForConditionalGeneration(
        transformers.LlavaConfig(
            text_config=transformers.LlamaConfig(
                vocab_size=vocab, max_position_embeddings=positions, **_SIZES
            ),
            vision_config=transformers.CLIPVisionConfig(image_size=16, patch_size=8, **_SIZES),
            image_token_index=vocab - 1,
        )
    ),
    "qwen2_vl": lambda vocab, positions: transformers.Qwen2VLForConditionalGeneration(
        transformers.Qwen2VLConfig(
            text_config={"vocab_size": vocab, "num_key_value_heads": 2, **_SIZES, "rope_parameters": _MROPE},
            vision_config={"depth": 1, "embed_dim": 16, "hidden_size": 16, "num_heads": 2, "mlp_ratio": 1},
        )
    ),
    "rwkv": lambda vocab, positions: transformers.RwkvForCausalLM(
        transformers.RwkvConfig(vocab_size=vocab, hidden_size=WIDTH, num_hidden_layers=2)
    ),
    "biased_mamba": lambda vocab, positions: transformers.MambaForCausalLM(
        transformers.MambaConfig(vocab_size=vocab, hidden_size=WIDTH, num_hidden_layers=1, use_bias=True)
    ),
    "bert": lambda vocab, positions: transformers.BertForMaskedLM(
        transformers.BertConfig(vocab_size=vocab, max_position_embeddings=positions, **_SIZES)
    ),
    "t5": lambda vocab, positions: transformers.T5ForConditionalGeneration(
        transformers.T5Config(vocab_size=vocab, d_model=WIDTH, d_ff=32, num_layers=1, num_heads=2, d_kv=8)
    ),
}


def save(family, folder, vocab=VOCAB, positions=64):
    """Save a random model of a family, each parameter away from zero and one; return its folder as text."""
    torch.manual_seed(4)
    model = (CAUSAL | OTHERS)[family](vocab, positions).eval()
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


def save_with_tokenizer(family, folder, positions=2048):
    """Save a random model of a family and a byte-level BPE tokenizer of 300 tokens; return their folder."""
    task = PathStar()
    lines = task.lines(task.sample(np.random.default_rng(0), 100))
    tokenizer = byte_level([*lines, task.text.instruction("forward")])
    tokenizer.save_pretrained(folder)
    return save(family, folder, len(tokenizer), positions)


@cache
def saved_with_tokenizer(family):
    """Save a random model of a family and a tokenizer once, for all tests; return their folder."""
    return save_with_tokenizer(family, tempfile.mkdtemp(prefix=f"unforced-{family}-"))


def save_with_symbols(task, folder):
    """Save a random GPT-2 that reads a task's symbols, as `unforced export` would; return its folder."""
    symbol_tokenizer(task, 0, 64).save_pretrained(folder)
    return save("gpt2", folder, len(task.alphabet) + 1)
