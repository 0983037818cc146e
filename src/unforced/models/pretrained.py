"""`pretrained`: causal language models that transformers loads, from a folder or the hub.

Each symbol of the task (a node, `|`, `/`, `=`) and the dummy is one token of its own, appended to the model's
vocabulary and trained with it; the text that the model was trained on keeps its tokens.
"""

import contextlib
import copy
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from pydantic import Field, field_validator
from torch import Tensor

from unforced.data.codec import SymbolCodec
from unforced.errors import UserError
from unforced.huggingface import import_transformers
from unforced.models.base import Cache, ModelConfig, SequenceModel
from unforced.models.mamba import Mamba
from unforced.tasks.base import Task

At = slice | Int[Tensor, " chosen"]


_FAMILIES = "take a model of the GPT-2, GPT-NeoX, Llama or Mamba family"


class Pretrained(ModelConfig):
    """A causal language model that was trained before, by transformers' name or folder.

    Source: arXiv 2403.06963, Sec. 5 fine-tunes GPT-2 Large. Dropout is off, whatever the model's own config
    says: a run's chance is a function of its step. Reading a run again takes the model that it started from.
    """

    name: Literal["pretrained"] = "pretrained"
    name_or_path: str = Field(min_length=1, description="a folder, or a name on the hub")
    revision: str | None = Field(None, description="branch, tag or commit on the hub (null: the newest)")

    @field_validator("name_or_path")
    @classmethod
    def _folders_do_not_depend_on_where_one_stands(cls, given: str) -> str:
        return str(Path(given).resolve()) if Path(given).is_dir() else given

    def codec(self, task: Task) -> SymbolCodec:
        """Put the task's symbols behind the model's own vocabulary."""
        return SymbolCodec.of(task, first=_config(self.name_or_path, self.revision).vocab_size)

    def build(self, vocab_size: int, max_length: int) -> SequenceModel:
        """Load the model; tokens that are new to it start as one more of the old ones might.

        Raises UserError: it cannot be loaded, is too short, or no causal model.
        """
        config = copy.deepcopy(_config(self.name_or_path, self.revision))
        self._check_length(config, max_length)
        for key, value in vars(config).items():
            if ("pdrop" in key or "dropout" in key) and isinstance(value, float):
                setattr(config, key, 0.0)
        with _one_line(self.name_or_path):
            if torch.get_default_device().type == "meta":
                config.vocab_size = vocab_size
                return _behind_the_contract(_auto_model().from_config(config, dtype=torch.float32))
            network = self._load(config)
            _append_tokens(network, vocab_size)
            model = _behind_the_contract(network)
            if isinstance(model, TransformersModel):
                model.check(self.name_or_path, max_length)
            return model

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

    def _load(self, config: Any) -> Any:
        """Load the network. Raises ValueError where the folder lacks some of its weights."""
        network, report = _auto_model().from_pretrained(
            self.name_or_path,
            revision=self.revision,
            config=config,
            dtype=torch.float32,
            trust_remote_code=False,
            output_loading_info=True,
        )
        absent = sorted(map(str, [*report["missing_keys"], *report["mismatched_keys"]]))
        if absent:
            raise ValueError(f"{len(absent)} weights are missing or misshapen, {absent[0]} for one")
        return network


def _behind_the_contract(network: Any) -> "SequenceModel":
    return (
        Mamba.of_transformers(network) if network.config.model_type == "mamba" else TransformersModel(network)
    )


def _append_tokens(network: Any, vocab_size: int) -> None:
    """Enlarge the vocabulary; each new token is drawn from a normal distribution fitted to the old ones."""
    old = network.get_input_embeddings().weight.shape[0]
    network.resize_token_embeddings(vocab_size, mean_resizing=False)
    tables = (network.get_input_embeddings().weight, network.get_output_embeddings().weight)
    with torch.no_grad():
        for table in tables[:1] if tables[0] is tables[1] else tables:
            known, new = table[:old], table[old:]
            new.normal_().mul_(known.std(0)).add_(known.mean(0))


def _auto_model() -> Any:
    return _transformers().AutoModelForCausalLM


def _transformers() -> Any:
    return import_transformers("model pretrained")


@lru_cache(maxsize=8)
def _config(name_or_path: str, revision: str | None) -> Any:
    """Return transformers' config of a model. Raises UserError."""
    with _one_line(name_or_path):
        config = _transformers().AutoConfig.from_pretrained(
            name_or_path, revision=revision, trust_remote_code=False
        )
    if config.is_encoder_decoder:
        raise UserError(
            f"model.name_or_path: {name_or_path} ({config.model_type}) encodes before it decodes; "
            "take a decoder-only model"
        )
    if not isinstance(getattr(config, "vocab_size", None), int):
        raise UserError(
            f"model.name_or_path: {name_or_path} ({config.model_type}) is no model of text alone; {_FAMILIES}"
        )
    return config


@contextlib.contextmanager
def _one_line(name_or_path: str) -> Iterator[None]:
    """Turn whatever transformers raises for a folder or name that is no usable model into one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise UserError(
            f"model.name_or_path: no causal language model could be loaded from {name_or_path} ({reason}); "
            "give a folder with config.json and weights, or a name on a hub that can be reached"
        ) from error


@dataclass
class TransformersCache:
    """Keys and values as transformers keeps them; updates make new tensors, so forks share the old."""

    entries: Any
    length: int = 0

    def fork(self) -> "TransformersCache":
        """Go on from here."""
        entries = copy.copy(self.entries)
        entries.layers = [copy.copy(layer) for layer in entries.layers]
        return TransformersCache(entries, self.length)


class TransformersModel(SequenceModel):
    """A causal language model of transformers, behind the model contract."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network
        self.vocab_size = network.config.get_text_config().vocab_size
        self.width = network.get_output_embeddings().in_features

    def check(self, name: str, length: int) -> None:
        """Refuse a network that says something else than this module does, on `length` tokens.

        Raises UserError.
        """
        if self.network.config._attn_implementation != "sdpa":
            raise UserError(
                f"model.name_or_path: {name} does not run on PyTorch's attention, which masks padding here; "
                f"{_FAMILIES}"
            )
        tokens = torch.arange(length)[None] % self.vocab_size
        with torch.inference_mode():
            theirs, shorter = self.network(tokens).logits, self.network(tokens[:, :-1]).logits
            cache = self.new_cache(1, length)
            pieces = [self.hidden(part, cache=cache) for part in (tokens[:, :-1], tokens[:, -1:])]
            ours = self.logits(torch.cat(pieces, dim=1))
        if not torch.allclose(theirs[:, :-1], shorter, rtol=1e-3, atol=1e-3):
            raise UserError(
                f"model.name_or_path: {name} sees the tokens after the one it predicts; take a causal model"
            )
        if not torch.allclose(ours, theirs, rtol=1e-3, atol=1e-3):
            raise UserError(
                f"model.name_or_path: the logits of {name} are no linear map of hidden states that see all "
                f"earlier tokens; {_FAMILIES}"
            )

    def tune(
        self, device: torch.device, dtype: torch.dtype, length: int, known: Mapping[str, str]
    ) -> dict[str, str]:
        """Leave the implementation to transformers."""
        return {"attention": self.network.config._attn_implementation}

    def hidden(
        self,
        tokens: Int[Tensor, "batch time"],
        *,
        positions: Int[Tensor, "#batch time"] | None = None,
        mask: Bool[Tensor, "#batch time key"] | None = None,
        cache: Cache | None = None,
        at: At | None = None,
    ) -> Float[Tensor, "batch chosen width"]:
        """Return the final hidden states; see SequenceModel."""
        assert cache is None or isinstance(cache, TransformersCache)
        batch, steps = tokens.shape
        if mask is None:  # given one, transformers asks the device nothing (are there packed sequences?)
            keys = steps if cache is None else cache.length + steps
            mask = torch.ones(1, steps, keys, dtype=torch.bool, device=tokens.device).tril(keys - steps)
        states = self.network.base_model(
            input_ids=tokens,
            position_ids=None if positions is None else positions.expand(batch, -1),
            attention_mask=mask[:, None].expand(batch, -1, -1, -1),
            past_key_values=None if cache is None else cache.entries,
            use_cache=cache is not None,
        ).last_hidden_state
        if cache is not None:
            cache.length += steps
        return states if at is None else states[:, at]

    def logits(self, hidden: Float[Tensor, "batch chosen width"]) -> Float[Tensor, "batch chosen vocab"]:
        """Unembed hidden states."""
        return self.network.get_output_embeddings()(hidden)

    def new_cache(self, batch: int, capacity: int) -> TransformersCache:
        """Return an empty cache; it grows as it must."""
        return TransformersCache(_transformers().DynamicCache(config=self.network.config))

    def to_transformers(self) -> Any:
        """Return the network as it was loaded, with the vocabulary and the weights that it has now."""
        return self.network
