"""Text in, text out: causal language models of transformers with their own tokenizers, decoded greedily."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Bool, Int
from torch import Tensor

from unforced.errors import UserError
from unforced.models.huggingface import (
    OPTION,
    check_tokenizer,
    load_network,
    one_line,
    read_config,
    read_tokenizer,
    transformers,
)

Ids = list[list[int]]


@dataclass(frozen=True)
class Reader:
    """What a model makes of a prompt before it reads it: its tokenizer, and the length it can read.

    chat: prompts are the text of the tokenizer's chat template, which has the special tokens in it.
    """

    name: str
    tokenizer: Any
    config: Any
    chat: bool = False

    @classmethod
    def load(cls, name_or_path: str, chat: bool = False) -> "Reader":
        """Load a model's config and tokenizer, not its weights.

        Raises UserError: no model, an encoder-decoder, no tokenizer, or no chat template where one is needed.
        """
        config = read_config(name_or_path, None, OPTION)
        tokenizer = read_tokenizer(name_or_path, None, OPTION)
        if chat and not tokenizer.chat_template:
            raise UserError(
                f"--chat: the tokenizer of {name_or_path} has no chat template; drop --chat, "
                "or take a model that was trained to chat"
            )
        return cls(name_or_path, tokenizer, config, chat)

    def converse(self, conversations: Sequence[Sequence[dict[str, str]]]) -> list[str]:
        """Write conversations by the tokenizer's chat template, up to where the assistant's turn begins.

        Raises UserError if the template refuses them.
        """
        return [self._conversation(turns) for turns in conversations]

    def _conversation(self, turns: Sequence[dict[str, str]]) -> str:
        try:
            return self.tokenizer.apply_chat_template(
                list(turns),
                tokenize=False,
                add_generation_prompt=True,
                enable_thinking=False,  # where a template knows it: there is room for the answer alone
            )
        except Exception as error:  # a template may raise anything
            raise UserError(
                f"--chat: the chat template of {self.name} refuses the turns ({error})"
            ) from error

    def ids(self, prompts: Sequence[str]) -> Ids:
        """Return the tokens of each prompt; what marks the end of a text is taken off again."""
        rows = self.tokenizer(list(prompts), add_special_tokens=not self.chat)["input_ids"]
        end = self.tokenizer.eos_token_id
        return [row[:-1] if row and row[-1] == end and not self.chat else row for row in rows]

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, without the special ones."""
        return self.tokenizer.decode(ids, skip_special_tokens=True, clean_up_tokenization_spaces=False)

    def check(self, prompts: Sequence[str], most_tokens: int) -> None:
        """Refuse prompts that the model cannot read whole, with room for an answer. Raises UserError."""
        check_tokenizer(self.tokenizer, prompts[0], self.name, self.config.vocab_size, OPTION)
        longest = max(map(len, self.ids(prompts)))
        limit = getattr(self.config, "max_position_embeddings", None)
        if limit is not None and 0 < limit < longest + most_tokens:
            raise UserError(
                f"{OPTION}: {self.name} reads at most {limit} tokens; the longest prompt has {longest}, and "
                f"the answer takes up to {most_tokens}; lower --shots, or make the task smaller"
            )


class Writer:
    """A model that goes on from prompts, greedily: the likeliest token each time, whatever the batch.

    On a processor its matrix products are of float32, elsewhere of what the weights are saved in.
    """

    def __init__(self, reader: Reader, most_tokens: int, device: torch.device) -> None:
        """Load the weights. Raises UserError."""
        self.reader, self.most_tokens, self.device = reader, most_tokens, device
        dtype: torch.dtype | str = torch.float32 if device.type == "cpu" else "auto"
        with one_line(reader.name, OPTION):
            self.network = (
                load_network(reader.name, None, copy.deepcopy(reader.config), dtype).to(device).eval()
            )
        self.ends = _ends(reader, self.network)
        self.network.generation_config = self._greedy()  # its own may ask for sampling or penalties

    def _greedy(self) -> Any:
        padding = self.reader.tokenizer.pad_token_id
        return transformers().GenerationConfig(
            do_sample=False,
            num_beams=1,
            max_new_tokens=self.most_tokens,
            eos_token_id=self.ends or None,
            pad_token_id=padding if padding is not None else next(iter(self.ends), 0),
        )

    @torch.inference_mode()
    def __call__(self, prompts: Sequence[str]) -> list[str]:
        """Return what the model writes after each prompt, up to the end of the first line that is not blank.

        Writing stops there, at a token that ends a text, or after `most_tokens`.
        """
        tokens, mask = _padded(self.reader.ids(prompts), self.network.generation_config.pad_token_id)
        start = tokens.shape[1]

        def after_a_line(ids: Int[Tensor, "batch time"], scores: Any, **_: Any) -> Bool[Tensor, " batch"]:
            done = [text != _first_line(text) for text in map(self._written, ids[:, start:].tolist())]
            return torch.tensor(done, device=ids.device)

        written = self.network.generate(
            input_ids=tokens.to(self.device),
            attention_mask=mask.to(self.device),
            stopping_criteria=transformers().StoppingCriteriaList([after_a_line]),
        )
        return [_first_line(self._written(row)) for row in written[:, start:].tolist()]

    def _written(self, ids: list[int]) -> str:
        end = next((i for i, token in enumerate(ids) if token in self.ends), len(ids))
        return self.reader.text(ids[:end])


def _first_line(text: str) -> str:
    """Cut a text after its first line that is not blank; blank ones before it stay."""
    line = text.lstrip()
    return text[: len(text) - len(line)] + line.partition("\n")[0]


def _ends(reader: Reader, network: Any) -> list[int]:
    """Collect the tokens that end a text, by the tokenizer and by the model's own settings."""
    known = [reader.tokenizer.eos_token_id]
    for settings in (network.generation_config, network.config):
        ids = getattr(settings, "eos_token_id", None)
        known += ids if isinstance(ids, list) else [ids]
    return sorted({token for token in known if token is not None and 0 <= token < reader.config.vocab_size})


def _padded(rows: Ids, padding: int) -> tuple[Int[Tensor, "batch time"], Int[Tensor, "batch time"]]:
    """Right-align rows of tokens; return them and a mask that is 0 where there are none."""
    longest = max(map(len, rows))
    tokens = [[padding] * (longest - len(row)) + row for row in rows]
    mask = [[0] * (longest - len(row)) + [1] * len(row) for row in rows]
    return torch.tensor(tokens), torch.tensor(mask)
