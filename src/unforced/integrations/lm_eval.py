"""Tasks of EleutherAI's lm-evaluation-harness (0.4): our problems, asked by it, scored by our verifiers.

    description  Each line describes a directed graph ... Write the answer and nothing else.
    few-shot     5,8|5,2|8,6|2,0/5,6=5,8,6          from the training split
    doc          1,7|1,4|7,9|4,2/1,9=               from the test split, which no training problem is in

`write_task` writes a YAML file for `--include_path`; the harness calls the others by their names in it.
It asks what `unforced ask` asks, and reads answers from text by the same rules.
"""

import importlib
import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from unforced.config import build_task
from unforced.errors import UserError
from unforced.evaluation.prompting import ASKED, Questions
from unforced.files import write_atomically
from unforced.parts import tree
from unforced.tasks.base import Order, Task
from unforced.tasks.sampling import problems, split_size
from unforced.wording import typed

_SHOTS = 100  # training problems that worked examples may be taken from
_STOP = "\n\n"  # behind the first lines, of which the first with more than marks is read
_TAG = "unforced"
_DIGITS = 8  # of a SHA-256 that a name shows
_EXACT = "exact"
Doc = Mapping[str, Any]


def write_task(folder: Path, task: Task, order: Order, seed: int, count: int, shots: int) -> Path:
    """Write the YAML file of a task with its settings; return it.

    count: held-out problems, or all that there are. shots: worked examples, if `--num_fewshot` does not say.
    Raises UserError if the file exists, or an answer would not be read.
    """
    name = task_name(task, order)
    path = folder / f"{name}.yaml"
    if path.exists():
        raise UserError(f"{path} exists; nothing was written, choose another {typed('out')}")
    size = split_size(task, ASKED)
    asked = problems(task, seed, ASKED, 0, count if size is None else min(count, size))
    Questions(task, order, asked, ()).check()
    folder.mkdir(parents=True, exist_ok=True)
    settings = {"task": tree(task, changed=True), "order": order, "seed": seed, "count": count}
    write_atomically(path, _yaml(name, task, order, settings, shots).encode())
    return path


def task_name(task: Task, order: Order) -> str:
    """Name a task and what is not at its default: `unforced_path_star_degree3_reversed`.

    Of files it says the stem and the first digits of the SHA-256: `unforced_own_data_words_1ae3ef23`.
    """
    changed = [_worded(task, key, value) for key, value in tree(task, changed=True).items() if key != "name"]
    parts = [_TAG, str(tree(task)["name"]), *changed, *([] if order == "forward" else [order])]
    return "".join(sign if sign.isalnum() else "_" for sign in "_".join(parts))


def _worded(task: Task, key: str, value: Any) -> str:
    if key in task.file_fields:
        return Path(value).stem
    return str(value)[:_DIGITS] if key in task.file_fields.values() else f"{key}{value}"


def _yaml(name: str, task: Task, order: Order, settings: Mapping[str, Any], shots: int) -> str:
    """Write the task's file; JSON values are YAML, too."""
    questions = Questions(task, order, problems(task, 0, ASKED, 0, 1), ())
    here = f"!function {__name__}"
    kinds = task.score(questions.problems, task.answers(questions.problems)).kinds[1:]
    fields = {
        "task": name,
        "tag": _TAG,
        "output_type": "generate_until",
        "dataset_kwargs": {"settings": json.dumps(settings)},
        "test_split": ASKED,
        "fewshot_split": "train",
        "fewshot_config": {"sampler": "first_n"},
        "num_fewshot": shots,
        "description": f"{task.text.instruction(order)}\n\n",
        "target_delimiter": "",
        "fewshot_delimiter": "\n",
        "generation_kwargs": {
            "until": [_STOP],
            "do_sample": False,
            "max_gen_toks": questions.most_tokens(),
        },
        "metric_list": [
            {"metric": each, "aggregation": "mean", "higher_is_better": each == _EXACT}
            for each in (_EXACT, *kinds)
        ],
        "metadata": {"version": 1},
    }
    calls = ("custom_dataset", "doc_to_text", "doc_to_target", "process_results")
    lines = [f"{key}: {json.dumps(value)}" for key, value in fields.items()]
    return "\n".join([*lines, *(f"{key}: {here}.{key}" for key in calls)]) + "\n"


def custom_dataset(settings: str, **_: Any) -> dict[str, Any]:
    """Return the test split and the training problems of worked examples, each a `datasets.Dataset`.

    settings: what `write_task` wrote, as JSON. The harness adds what it knows of the model.
    """
    given = json.loads(settings)
    return {
        ASKED: _docs(settings, ASKED, given["count"]),
        "train": _docs(settings, "train", _SHOTS),
    }


def _docs(settings: str, split: str, count: int) -> Any:
    asked = _task(settings)
    size = split_size(asked, split)
    count = count if size is None else min(count, size)
    given = json.loads(settings)
    texts = asked.texts(problems(asked, given["seed"], split, 0, count), given["order"])
    rows = [
        {"prompt": prompt, "answer": answer, "index": index, "split": split, "settings": settings}
        for index, (prompt, answer) in enumerate(texts)
    ]
    return importlib.import_module("datasets").Dataset.from_list(rows)


def doc_to_text(doc: Doc) -> str:
    """Return the prompt."""
    return str(doc["prompt"])


def doc_to_target(doc: Doc) -> str:
    """Return the reference answer: what a worked example ends in."""
    return str(doc["answer"])


def process_results(doc: Doc, results: Sequence[str]) -> dict[str, float]:
    """Say by the task's verifier whether what a model wrote is right, and of which kind its error is."""
    asked, given = _task(doc["settings"]), json.loads(doc["settings"])
    one = problems(asked, given["seed"], doc["split"], doc["index"], 1)
    verdicts = asked.score(one, Questions(asked, given["order"], one, ()).read([results[0]]))
    kind = verdicts.kinds[int(verdicts.kind[0])]
    return {
        _EXACT: float(verdicts.exact[0]),
        **{each: float(each == kind) for each in verdicts.kinds[1:]},
    }


@lru_cache(maxsize=16)
def _task(settings: str) -> Task:
    fields = dict(json.loads(settings)["task"])
    return build_task(fields.pop("name"), fields)
