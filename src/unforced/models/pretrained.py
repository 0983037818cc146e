"""`pretrained`: causal language models that transformers loads, from a folder or the hub.

Problems are read as the paper's line of text, in the model's own tokens; or, with `encoding=symbol`, each
symbol of the task (a node, `|`, `/`, `=`) is a token of its own, appended to the vocabulary and trained.
"""

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal

import torch
from jaxtyping import Float
from pydantic import Field, model_validator
from torch import Tensor, nn

from unforced.data.vocabulary import Vocabulary, num_ids
from unforced.errors import UserError
from unforced.models.adapters import add_adapters, train_rows
from unforced.models.base import ModelConfig, Origin, SequenceModel
from unforced.models.huggingface import (
    FAMILIES,
    FIELD,
    check_tokenizer,
    load_network,
    loading,
    read_config,
    read_tokenizer,
    transformers,
)
from unforced.models.mamba import Mamba, MambaModel
from unforced.models.networks import length_limits
from unforced.models.places import is_folder
from unforced.models.transformers_model import TransformersModel

_TRIED_TOKENS = 8
_SYMBOLS = "model.encoding=symbol"


class Pretrained(ModelConfig):
    """A causal language model that was trained before, by transformers' name or folder.

    Source: arXiv 2403.06963, Sec. 5 fine-tunes GPT-2 Large. Dropout is off, whatever the model's own config
    says: a run's chance is a function of its step. Reading a run again takes the model that it started from.

    encoding: `text` writes the paper's line in the model's own tokens, and ends answers as it ends texts
    (with one more token, where it has none). `symbol` appends a token for each of the task's symbols.
    weights: `random` builds the same architecture, and reads with the same tokenizer, from weights drawn as
    transformers initialises them, by the run's seed: what training before was worth.
    """

    former_names = MappingProxyType({"dummy": "mask_token"})
    path_fields = ("name_or_path",)

    name: Literal["pretrained"] = "pretrained"
    name_or_path: str = Field(
        "", description="a folder (recorded as its absolute path), or a name on the hub"
    )
    revision: str | None = Field(None, description="branch, tag or commit on the hub (null: the newest)")
    weights: Literal["pretrained", "random"] = Field(
        "pretrained", description="start from the model's weights, or from random ones, to compare"
    )
    encoding: Literal["text", "symbol"] = Field(
        "text", description="problems as text in the model's own tokens, or a new token for each symbol"
    )
    mask_token: str | None = Field(
        None, description="the model's own token that hides answer tokens, in text (null: one more token)"
    )
    lora_rank: int | None = Field(
        None, ge=1, description="train adapters of this rank and new tokens alone (null: train all weights)"
    )
    lora_alpha: float | None = Field(None, gt=0, description="scale of the adapters (null: twice the rank)")
    frozen_weights: Literal["fp32", "bf16"] = Field(
        "fp32", description="how weights that are not trained are kept; bf16 needs lora_rank"
    )
    gradient_checkpointing: bool = Field(
        False, description="compute activations again in the backward pass, a third more work in less memory"
    )

    @model_validator(mode="after")
    def _check(self) -> "Pretrained":
        if self.weights == "random" and self.lora_rank is not None:
            raise ValueError(
                "weights: adapters would leave the random weights as they are; drop lora_rank, or use "
                "weights=pretrained"
            )
        if self.frozen_weights == "bf16" and self.lora_rank is None:
            raise ValueError(
                "frozen_weights: bf16 would round away the small steps of weights that are trained; give "
                "lora_rank, or use precision=bf16-mixed, which multiplies in bf16 and keeps weights in fp32"
            )
        if self.mask_token is not None and self.encoding == "symbol":
            raise ValueError(
                "mask_token: encoding=symbol has one of its own; drop mask_token, or use encoding=text"
            )
        if self.lora_alpha is not None and self.lora_rank is None:
            raise ValueError("lora_alpha: it scales adapters, and there are none; give lora_rank, or drop it")
        if self.revision is not None and is_folder(self.name_or_path):
            raise ValueError(
                f"revision: {self.name_or_path} is a folder, which has one alone; drop revision, or give a "
                "name on the hub"
            )
        return self

    @property
    def attends(self) -> frozenset[str]:
        """By its family. Raises UserError if its config cannot be read."""
        return _kind(read_config(self.name_or_path, self.revision)).attends

    @property
    def origin(self) -> Origin:
        """The folder or name, with the revision if one was given; a folder is known by its whole path."""
        name, revision = self.name_or_path, self.revision
        hub_name = None if is_folder(name) else name
        return Origin(
            name if revision is None else f"{name} at {revision}", hub_name, self.frozen_weights == "bf16"
        )

    def vocabulary(self) -> Vocabulary:
        """The model's own tokens; with its tokenizer, where problems are text. Raises UserError."""
        size = read_config(self.name_or_path, self.revision).vocab_size
        if self.encoding == "symbol":
            return Vocabulary(size)
        tokenizer = self._tokenizer()

        def check(text: str) -> None:
            own = f"use {_SYMBOLS}, which gives each symbol of the task a token of its own"
            check_tokenizer(tokenizer, text, self.name_or_path, size, own)

        return Vocabulary(size, tokenizer, self.mask_token, check)

    def _tokenizer(self) -> Any:
        return read_tokenizer(self.name_or_path, self.revision, f"or use {_SYMBOLS}")

    def build(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Load the model; tokens that are new to it start as one more of the old ones might.

        Raises UserError: it cannot be loaded, is too short, or no causal model.
        """
        config = copy.deepcopy(read_config(self.name_or_path, self.revision))
        self._check_length(config, max_length)
        dropout_rates = _disable_dropout(config)
        with loading(self.name_or_path):
            network = self._network(config)
            _note_separate_tables(network)
            first = self._first_new_token()
            if first is not None:
                _append_tokens(network, vocab_size, first)
            model = behind_the_contract(network, dropout_rates, max_length)
            if isinstance(model, TransformersModel):
                model.check(self.name_or_path, max_length)
            if self.gradient_checkpointing:
                model.checkpoint_activations()
            return self._adapted(model).train()  # transformers computes again in training mode alone

    def _network(self, config: Any) -> Any:
        """Load the network, or build it with random weights."""
        if self.weights == "random":
            return transformers().AutoModelForCausalLM.from_config(config, dtype=torch.float32)
        return load_network(self.name_or_path, self.revision, config, torch.float32)

    def build_empty(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Build the model on the meta device, from its config alone."""
        config = copy.deepcopy(read_config(self.name_or_path, self.revision))
        dropout_rates = _disable_dropout(config)
        config.vocab_size = vocab_size
        with loading(self.name_or_path), torch.device("meta"):
            network = transformers().AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            model = behind_the_contract(network, dropout_rates, max_length)
            if isinstance(model, TransformersModel):
                model.skip_masks()
            return self._adapted(model)

    def _adapted(self, model: TransformersModel | MambaModel) -> SequenceModel:
        """Freeze a model, and put adapters into it, if there are to be any."""
        if self.lora_rank is None:
            return model
        alpha = 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha
        dtype = torch.bfloat16 if self.origin.keeps_bf16 else torch.float32
        add_adapters(model, model.linear_maps(), self.lora_rank, alpha, dtype)
        first = self._first_new_token()
        if first is not None:
            for table in model.token_tables():
                train_rows(table, first)
        return model

    def _first_new_token(self) -> int | None:
        """Return the id from which on tokens are new to the model; None where none is."""
        model_size = int(read_config(self.name_or_path, self.revision).vocab_size)
        if self.encoding == "symbol":
            return model_size
        tokenizer = self._tokenizer()
        tokenizer_size = num_ids(tokenizer)
        if self.mask_token is None or tokenizer.eos_token_id is None:
            return min(tokenizer_size, model_size)
        return model_size if tokenizer_size > model_size else None

    @property
    def most_tokens(self) -> int | None:
        """By its positions, or its window of attention."""
        limits = length_limits(read_config(self.name_or_path, self.revision)).values()
        return min(limits, default=None)

    def _check_length(self, config: Any, max_length: int) -> None:
        for what, limit in length_limits(config).items():
            if limit < max_length:
                raise UserError(
                    f"{FIELD}: {self.name_or_path} {what} {limit} tokens, and this task has "
                    f"{max_length}; make the task smaller, or take a model with more positions"
                )


def _disable_dropout(config: Any) -> dict[str, float]:
    """Disable dropout, layer drop and router noise.

    Return what there was.
    """
    dropout_rates = {
        key: value
        for key, value in vars(config).items()
        if any(word in key for word in ("pdrop", "dropout", "layerdrop", "jitter"))
        and isinstance(value, float)
    }
    for key in dropout_rates:
        setattr(config, key, 0.0)
    return dropout_rates


def _kind(config: Any) -> type[TransformersModel | MambaModel]:
    return MambaModel if config.model_type == "mamba" else TransformersModel


def behind_the_contract(
    network: Any, dropout_rates: Mapping[str, float], max_length: int
) -> TransformersModel | MambaModel:
    """Put a network of transformers behind the model contract.

    dropout_rates: of its config. max_length: of the sequences that it will read.
    """
    if _kind(network.config) is MambaModel:
        return Mamba.of_transformers(network, max_length)
    return TransformersModel(network, dropout_rates, max_length)


def _token_tables(network: Any) -> list[nn.Parameter]:
    """Return the tables with a row per token: the embedding, and the output if it has its own."""
    embedding, output = network.get_input_embeddings().weight, network.get_output_embeddings().weight
    return [embedding] if embedding is output else [embedding, output]


def _note_separate_tables(network: Any) -> None:
    """Let a network's config say that its output has its own matrix, where the weights hold two.

    transformers loads both, whatever `tie_word_embeddings` says, and would tie them when the vocabulary
    changes.
    """
    if len(_token_tables(network)) == 2:
        for config in (network.config, network.config.get_text_config()):
            config.tie_word_embeddings = False


def _append_tokens(network: Any, vocab_size: int, first: int) -> None:
    """Draw the tokens from `first` on from a normal distribution fitted to those before.

    Where the model has rows to spare, which are untrained, new tokens take them. Raises ValueError if the
    old tokens do not keep their logits.
    """
    before = _logits(network, first)
    network.resize_token_embeddings(vocab_size, mean_resizing=False)
    with torch.no_grad():
        for table in _token_tables(network):
            old, new = table[:first], table[first:]
            new.normal_().mul_(old.std(0)).add_(old.mean(0))
    if not torch.allclose(before, _logits(network, first), rtol=1e-3, atol=1e-3, equal_nan=True):
        raise ValueError(f"its old tokens get other logits when tokens are added; {FAMILIES}")


@torch.inference_mode()
def _logits(network: Any, count: int) -> Float[Tensor, "1 time count"]:
    """Return the logits of the first `count` tokens, after some of them."""
    tokens = torch.arange(min(count, _TRIED_TOKENS))[None]
    return network(tokens).logits[..., :count]
