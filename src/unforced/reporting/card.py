"""The card of an exported model: what it was trained on, how to decode it, and what came of it."""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from unforced.config import Run, flatten
from unforced.decoding.autoregressive import Autoregressive
from unforced.decoding.base import Decoder
from unforced.evaluation.statistics import percent
from unforced.models.older_transformers import OLDEST_VERSION
from unforced.registry import summary
from unforced.reporting.markdown import code_cell, code_span, plain, table
from unforced.reporting.tables import SPLIT_NAMES, error_table, in_percent, markdown

_PROMPTS = """\
folder = "."  # where this card lies
prompts = [
{prompts}
]
"""
_GENERATE_IMPORTS = f"""\
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer  # transformers {OLDEST_VERSION} or newer
"""
_GENERATE = """\
model = AutoModelForCausalLM.from_pretrained(folder).eval()
tokenizer = AutoTokenizer.from_pretrained(folder)
answers = []
for prompt in prompts:
    inputs = tokenizer(prompt, return_tensors="pt")
    written = {generate}
    answers.append(written[0, inputs.input_ids.shape[1] :])
print(tokenizer.batch_decode(answers))"""
_GENERATED = "model.generate(**inputs, do_sample=False, max_new_tokens={room})"
_IN_HALF = "with torch.autocast(model.device.type, torch.bfloat16):  # as the run did"
_UNFORCED_IMPORTS = """\
from unforced.exported import load_exported  # pip install 'unforced[pretrained]'
"""
_UNFORCED = """\
model = load_exported(folder)
answers = model.answer(prompts)
print(answers)"""
_ELSEWISE = {
    "left_to_right": "`generate` of transformers writes otherwise: its answers are not those measured below.",
    "one_pass": (
        "`generate` of transformers writes token by token: its answers are not those measured below. The "
        "model reads a mask token in the place of each answer token but the last."
    ),
    "any_order": (
        "`generate` of transformers writes from left to right: its answers are not those measured below."
    ),
}
_ORDERS = {
    "forward": "the answer is written from its beginning to its end",
    "reversed": "the answer is written from its end to its beginning (a path: the goal first)",
}
_MEASURES = """\
Shares of whole answers (exact) and of single tokens that are right, with 95% Wilson intervals; token_i is
answer position i in forward order, whatever the order of writing. *Forced* has the true answer so far as
input, *free* is the model on its own, decoded as above. Matrix products were of {dtype}: with other ones, on
another device or in a batch, the likelier of two nearly equal tokens can be the other."""


@dataclass(frozen=True)
class Card:
    """A run's weights after `step` steps, and what is to be said of them.

    examples: prompts and their true answers, as text and in the run's order.
    tokens: what a reader must know of the tokenizer.
    result: what result.json says of these very weights, if it does.
    autocast_dtype: what the run multiplied matrices in.
    head_parameters: parameters that the objective trained in addition to the model's.
    """

    run: Run
    architecture: str
    parameters: int
    head_parameters: int
    step: int
    examples: Sequence[tuple[str, str]]
    tokens: str
    result: Mapping[str, Any] | None
    autocast_dtype: str = "float32"

    def text(self) -> str:
        """Write the card as Markdown, for people and (its first lines) for the hub."""
        run = self.run
        parts = {
            plain(f"{run.model.name}, {run.objective.name}, {run.task}"): self._summary(),
            "How to decode it": self._decoding(),
            "Results": self._results(),
            "Settings": self._settings(),
        }
        sections = [
            f"{'##' if i else '#'} {title}\n\n{part}" for i, (title, part) in enumerate(parts.items())
        ]
        return "\n\n".join([self._metadata(), *sections]) + "\n"

    def _metadata(self) -> str:
        tags = ["unforced", self.run.task.name, self.run.objective.name]
        base = self.run.model.origin.hub_name
        lines = ["library_name: transformers"]
        lines += ["pipeline_tag: text-generation"] if is_generate(self.run.decoding) else []
        lines += [f"base_model: {base}"] if base else []
        return "\n".join(["---", *lines, "tags:", *(f"- {_yaml(tag)}" for tag in tags), "---"])

    def _summary(self) -> str:
        run = self.run
        needed = "decoding needs them" if run.decoding.needs_heads else "decoding does not need them"
        heads = f" The objective trained {self.head_parameters:,} more, in `heads.safetensors`: {needed}."
        return "\n".join(
            [
                f"A `{self.architecture}` of {self.parameters:,} parameters, trained with `unforced` for "
                f"{self.step:,} steps.{heads if self.head_parameters else ''}",
                "",
                f"- task {code_span(run.task.name)}: {plain(summary(type(run.task)))} "
                f"This one is {plain(str(run.task))}.",
                f"- objective {code_span(run.objective.name)}: {plain(summary(type(run.objective)))}",
                f"- decoder {code_span(str(run.decoding))}: {plain(summary(type(run.decoding)))}",
                f"- order `{run.order}`: {_ORDERS[run.order]}.",
                f"- chance: {_chance(run.task.chance)}",
            ]
        )

    def _decoding(self) -> str:
        """Show how the model answers, as code that runs where the card lies."""
        prompts, answers = zip(*self.examples, strict=True)
        prompt_code = _PROMPTS.format(prompts="\n".join(f"    {json.dumps(prompt)}," for prompt in prompts))
        if is_generate(self.run.decoding):
            code, note = "\n".join([_GENERATE_IMPORTS, prompt_code, self._generating()]), ""
        else:
            code, note = (
                "\n".join([_UNFORCED_IMPORTS, prompt_code, _UNFORCED]),
                f"{self._beyond_generate()}\n\n",
            )
        truth = ", ".join(map(code_span, answers))
        truths = f"The true answers are {truth}; {_ORDERS[self.run.order]}. {self.tokens}"
        return f"{note}```python\n{code}\n```\n\n{truths}"

    def _generating(self) -> str:
        """Write the code that generates, in the dtype of the run."""
        before, after = "    written = ", _GENERATED.format(room=self.run.codec.answer_length)
        if self.autocast_dtype != "bfloat16":
            return _GENERATE.format(generate=after)
        return _GENERATE.replace(f"{before}{{generate}}", f"    {_IN_HALF}\n        written = {after}")

    def _beyond_generate(self) -> str:
        """Say why transformers alone does not answer as the run was measured."""
        decoder = self.run.decoding
        if decoder.needs_heads:
            named = code_span(str(decoder))
            return f"The decoder {named} needs the trained heads: transformers alone cannot decode."
        if isinstance(decoder, Autoregressive):
            settings = f"temperature={decoder.temperature}, top_k={decoder.top_k or 0}"
            return (
                f"Answers are sampled. `model.generate(do_sample=True, {settings})` draws from the same "
                "distribution, but its noise is another: single answers differ from those measured below."
            )
        return _ELSEWISE[decoder.writes]

    def _results(self) -> str:
        if self.result is None:
            return (
                f"There are none: these are the weights after {self.step:,} of {self.run.num_steps:,} steps, "
                "and final results are measured when a run ends."
            )
        note = self.run.forced_note
        tables = [_accuracies(self.result), error_table(self.result)]
        notes = [f"Note: {plain(note)}."] if note else []
        measures = _MEASURES.format(dtype=self.autocast_dtype)
        return "\n\n".join([measures, *notes, *(markdown(table).rstrip() for table in tables)])

    def _settings(self) -> str:
        settings = flatten(self.run.tree())
        rows = [[code_cell(key), code_cell(json.dumps(value))] for key, value in settings.items()]
        settings_table = table(["setting", "value"], rows).rstrip()
        return f"`unforced train unforced.json` trains it again.\n\n{settings_table}"


def _yaml(text: str) -> str:
    """Write text as YAML reads it: quoted if it may be something else."""
    return text if re.fullmatch(r"[A-Za-z_][\w-]*", text) else json.dumps(text)


def is_generate(decoder: Decoder) -> bool:
    """Whether a decoder does what greedy `generate` of transformers does."""
    return isinstance(decoder, Autoregressive) and decoder.temperature == 0


def _chance(chance: float | None) -> str:
    if chance is None:
        return "unknown: nothing says how many whole answers are right without lookahead."
    return f"{in_percent(chance, sign='%')} of whole answers, at best, without lookahead."


def _accuracies(result: Mapping[str, Any]) -> pd.DataFrame:
    """Put accuracies with their intervals side by side: a row per measure, a column per split and mode."""
    columns = {}
    for split, name in SPLIT_NAMES.items():
        for mode in ("forced", "free", "one_pass"):
            prefix = f"{split}.{mode}."
            measured = {key: value for key, value in result.items() if key.startswith(prefix)}
            shown = {
                key.removeprefix(prefix): percent(value)
                for key, value in measured.items()
                if "total" in value
            }
            if shown:
                columns[f"{name}, {mode.replace('_', ' ')}"] = shown
    return pd.DataFrame(columns).fillna("")
