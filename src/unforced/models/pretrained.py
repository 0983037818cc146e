"""`pretrained`: causal language models that transformers loads, from a folder or the hub.

Problems are read as the paper's line of text, in the model's own tokens; or, with `encoding=symbol`, each
symbol of the task (a node, `|`, `/`, `=`) is a token of its own, appended to the vocabulary and trained.
"""

import copy
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field, field_validator, model_validator
from torch import nn

from unforced.data.codec import Codec, SymbolCodec
from unforced.data.text import TextCodec
from unforced.errors import UserError
from unforced.models.adapters import add_adapters, train_rows
from unforced.models.base import ModelConfig, SequenceModel
from unforced.models.huggingface import (
    FIELD,
    check_tokenizer,
    load_network,
    loading,
    read_config,
    read_tokenizer,
    transformers,
)
from unforced.models.mamba import Mamba, MambaModel
from unforced.models.transformers_model import TransformersModel
from unforced.tasks.base import Task

_DUMMY, _END = "<|dummy|>", "<|end|>"


class Pretrained(ModelConfig):
    """A causal language model that was trained before, by transformers' name or folder.

    Source: arXiv 2403.06963, Sec. 5 fine-tunes GPT-2 Large. Dropout is off, whatever the model's own config
    says: a run's chance is a function of its step. Reading a run again takes the model that it started from.

    encoding: `text` writes the paper's line in the model's own tokens, and ends answers as it ends texts
    (with one more token, where it has none). `symbol` appends a token for each of the task's symbols.
    """

    name: Literal["pretrained"] = "pretrained"
    name_or_path: str = Field("", description="a folder, or a name on the hub")
    revision: str | None = Field(None, description="branch, tag or commit on the hub (null: the newest)")
    encoding: Literal["text", "symbol"] = Field(
        "text", description="problems as text in the model's own tokens, or a new token for each symbol"
    )
    dummy: str | None = Field(
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

    @field_validator("name_or_path")
    @classmethod
    def _folders_do_not_depend_on_where_one_stands(cls, given: str) -> str:
        return str(Path(given).resolve()) if given and Path(given).is_dir() else given

    @model_validator(mode="after")
    def _check(self) -> "Pretrained":
        if self.frozen_weights == "bf16" and self.lora_rank is None:
            raise ValueError(
                "frozen_weights: bf16 would round away the small steps of weights that are trained; give "
                "lora_rank, or use precision=bf16, which multiplies in bf16 and keeps weights in fp32"
            )
        if self.dummy is not None and self.encoding == "symbol":
            raise ValueError("dummy: encoding=symbol has one of its own; drop dummy, or use encoding=text")
        if self.lora_alpha is not None and self.lora_rank is None:
            raise ValueError("lora_alpha: it scales adapters, and there are none; give lora_rank, or drop it")
        if self.revision is not None and self.name_or_path and Path(self.name_or_path).is_dir():
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
    def keeps_bf16(self) -> bool:
        """Whether some weights are in bf16."""
        return self.frozen_weights == "bf16"

    @property
    def origin(self) -> str:
        """The folder or name, and the revision if one was given."""
        return self.name_or_path + ("" if self.revision is None else f" at {self.revision}")

    @property
    def hub_name(self) -> str | None:
        """The name on the hub; None for a folder, which is known by its whole path."""
        return None if Path(self.name_or_path).is_absolute() else self.name_or_path

    def codec(self, task: Task) -> Codec:
        """Write problems as text, or put the task's symbols behind the model's own vocabulary.

        Raises UserError: the model has no usable tokenizer, or `dummy` is none of its tokens.
        """
        if self.encoding == "symbol":
            return SymbolCodec.of(task, first=read_config(self.name_or_path, self.revision).vocab_size)
        return _text_codec(self, task)

    def build(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Load the model; tokens that are new to it start as one more of the old ones might.

        Raises UserError: it cannot be loaded, is too short, or no causal model.
        """
        config = copy.deepcopy(read_config(self.name_or_path, self.revision))
        self._check_length(config, max_length)
        chances = _still(config)
        with loading(self.name_or_path):
            network = load_network(self.name_or_path, self.revision, config, torch.float32)
            first = self._first_new_token()
            if first is not None:
                _append_tokens(network, vocab_size, first)
            model = behind_the_contract(network, chances, max_length)
            if isinstance(model, TransformersModel):
                model.check(self.name_or_path, max_length)
            if self.gradient_checkpointing:
                model.checkpoint_activations()
            return self._adapted(model).train()  # transformers computes again in training mode alone

    def build_empty(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Build the model on the meta device, from its config alone."""
        config = copy.deepcopy(read_config(self.name_or_path, self.revision))
        chances = _still(config)
        config.vocab_size = vocab_size
        with loading(self.name_or_path), torch.device("meta"):
            network = transformers().AutoModelForCausalLM.from_config(config, dtype=torch.float32)
            model = behind_the_contract(network, chances, max_length)
            if isinstance(model, MambaModel):
                model.count_step_by_step()
            return self._adapted(model)

    def _adapted(self, model: TransformersModel | MambaModel) -> SequenceModel:
        """Freeze a model, and put adapters into it, if there are to be any."""
        if self.lora_rank is None:
            return model
        alpha = 2.0 * self.lora_rank if self.lora_alpha is None else self.lora_alpha
        dtype = torch.bfloat16 if self.keeps_bf16 else torch.float32
        add_adapters(model, model.linear_maps(), self.lora_rank, alpha, dtype)
        first = self._first_new_token()
        if first is not None:
            for table in model.token_tables():
                train_rows(table, first)
        return model

    def _first_new_token(self) -> int | None:
        """Return the id from which on tokens are new to the model; None where none is."""
        known = int(read_config(self.name_or_path, self.revision).vocab_size)
        if self.encoding == "symbol":
            return known
        tokenizer = read_tokenizer(self.name_or_path, self.revision)
        own = _num_ids(tokenizer)
        if self.dummy is None or tokenizer.eos_token_id is None:
            return min(own, known)
        return known if own > known else None

    def _check_length(self, config: Any, max_length: int) -> None:
        limits = {
            "reads at most": getattr(config, "max_position_embeddings", None),
            "attends to no more than the last": getattr(config, "sliding_window", None),
        }
        for what, limit in limits.items():
            if limit is not None and 0 < limit < max_length:
                raise UserError(
                    f"model.name_or_path: {self.name_or_path} {what} {limit} tokens, and this task has "
                    f"{max_length}; make the task smaller, or take a model with more positions"
                )


def _still(config: Any) -> dict[str, float]:
    """Take all chance out of training: dropout of units and layers, and noise on a router's inputs.

    Return what there was.
    """
    chances = {
        key: value
        for key, value in vars(config).items()
        if any(word in key for word in ("pdrop", "dropout", "layerdrop", "jitter"))
        and isinstance(value, float)
    }
    for key in chances:
        setattr(config, key, 0.0)
    return chances


def _kind(config: Any) -> type[TransformersModel | MambaModel]:
    return MambaModel if config.model_type == "mamba" else TransformersModel


def behind_the_contract(
    network: Any, chances: Mapping[str, float], max_length: int
) -> TransformersModel | MambaModel:
    """Put a network of transformers behind the model contract.

    chances: what its config said of dropout and the like. max_length: of the sequences that it will read.
    """
    if _kind(network.config) is MambaModel:
        return Mamba.of_transformers(network, max_length)
    return TransformersModel(network, chances, max_length)


@lru_cache(maxsize=8)
def _text_codec(model: Pretrained, task: Task) -> TextCodec:
    tokenizer = copy.deepcopy(read_tokenizer(model.name_or_path, model.revision))
    known = read_config(model.name_or_path, model.revision).vocab_size
    ((prompt, answer),) = task.texts(task.sample(np.random.default_rng(0), 1))
    for text in (prompt + answer, task.text.separator.join(task.alphabet)):
        check_tokenizer(tokenizer, text, model.name_or_path, known, FIELD)
    if tokenizer.eos_token_id is None:
        tokenizer.add_special_tokens({"eos_token": _END})
    if model.dummy is None:
        tokenizer.add_tokens([_DUMMY], special_tokens=True)
    dummy = _token_id(tokenizer, model.dummy or _DUMMY)
    codec = TextCodec.of(task, tokenizer, dummy, tokenizer.eos_token_id, max(_num_ids(tokenizer), known))
    if dummy in (codec.end, *codec.start) or _is_of_lines(tokenizer.decode([dummy]), task):
        raise UserError(
            f"model.dummy: {model.dummy} may stand in problems, or begins or ends texts, so it cannot hide "
            "tokens; take another token, or null for one more"
        )
    return codec


def _num_ids(tokenizer: Any) -> int:
    """Count token ids, unused ones between others as well."""
    return max(tokenizer.get_vocab().values()) + 1


def _token_id(tokenizer: Any, token: str) -> int:
    """Return a token's id. Raises UserError if it is no token."""
    if token not in tokenizer.get_vocab():
        special = ", ".join(tokenizer.all_special_tokens[:5]) or "it has none"
        raise UserError(
            f"model.dummy: {token} is no token of the model's tokenizer; take one that problems have no use "
            f"for (special ones: {special}), or null for one more"
        )
    return tokenizer.convert_tokens_to_ids(token)


def _is_of_lines(text: str, task: Task) -> bool:
    """Say whether a token's text may stand in a task's lines: all of its characters do."""
    return set(text.strip(" ")) <= set("".join((*task.alphabet, task.text.separator)))


def _append_tokens(network: Any, vocab_size: int, first: int) -> None:
    """Draw the tokens from `first` on from a normal distribution fitted to those before.

    Where the model has rows to spare, which nobody trained, new tokens take them.
    """
    network.resize_token_embeddings(vocab_size, mean_resizing=False)
    tables: tuple[nn.Parameter, ...] = (
        network.get_input_embeddings().weight,
        network.get_output_embeddings().weight,
    )
    with torch.no_grad():
        for table in tables[:1] if tables[0] is tables[1] else tables:
            known, new = table[:first], table[first:]
            new.normal_().mul_(known.std(0)).add_(known.mean(0))
