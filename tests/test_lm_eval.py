"""Our problems as tasks of lm-evaluation-harness: its file, and the functions that it calls by name.

The harness itself brings some forty packages, and is run by hand (docs/elsewhere.md).
"""

import importlib
import json

import pytest
import yaml

from unforced.config import build_task
from unforced.evaluation.prompting import Questions
from unforced.integrations.lm_eval import task_name
from unforced.tasks.own_data import OwnData

SETTINGS = {
    "path_star": ["task.degree=3", "task.num_nodes=14"],
    "crossing_lines": [],
    "addition": ["task.num_digits=2", "--order", "reversed"],
}


class Loader(yaml.SafeLoader):
    """Reads `!function` as the harness does: a function by its full name."""


def function(loader, node):
    module, _, name = loader.construct_scalar(node).rpartition(".")
    return getattr(importlib.import_module(module), name)


Loader.add_constructor("!function", function)


@pytest.fixture(params=SETTINGS)
def written(request, call, tmp_path):
    """What a task's file holds."""
    options = ["--task", request.param, *SETTINGS[request.param], "--count", "4", "--shots", "2", "--out"]
    code, output, _ = call("data", "lm-eval", *options, tmp_path)
    assert code == 0
    (path,) = tmp_path.iterdir()
    assert f"--tasks {path.stem} " in output
    assert call("data", "lm-eval", *options, tmp_path)[0] == 2  # it exists
    return yaml.load(path.read_text(), Loader)


def test_it_asks_what_ask_asks_and_scores_by_the_verifier(written):
    docs = written["custom_dataset"](**written["metadata"], **written["dataset_kwargs"], pretrained="MODEL")
    given = json.loads(written["dataset_kwargs"]["settings"])
    task = build_task(given["task"].pop("name"), given["task"])
    shots = [
        written["doc_to_text"](doc) + written["target_delimiter"] + written["doc_to_target"](doc)
        for doc in docs[written["fewshot_split"]].select(range(written["num_fewshot"]))
    ]
    asked = list(docs[written["test_split"]])
    prompts = [
        written["description"]
        + "".join(shot + written["fewshot_delimiter"] for shot in shots)
        + written["doc_to_text"](doc)
        for doc in asked
    ]
    questions = Questions.draw(task, given["order"], given["seed"], 4, 2)
    assert prompts == questions.prompts()
    assert written["generation_kwargs"]["max_gen_toks"] == questions.most_tokens()
    metrics = {each["metric"] for each in written["metric_list"]}
    for doc in asked:
        right = written["process_results"](doc, [f" **{doc['answer']}**.\nmore"])
        assert set(right) == metrics
        assert right["exact"] == 1 == sum(right.values())
        wrong = written["process_results"](doc, ["no answer"])
        assert wrong["malformed"] == 1 == sum(wrong.values())


@pytest.mark.parametrize("verb", [["data", "lm-eval", "--out", "lme"], ["ask", "no_model"]])
def test_an_answer_of_several_lines_is_refused_with_the_line(verb, call, tmp_path, monkeypatch):
    """A model's answer is read from one line; where another right answer has one, too."""
    monkeypatch.chdir(tmp_path)
    rows = [{"prompt": f"p{i}", "answer": f"a{i}", "split": "train"} for i in range(60)]
    rows += [{"prompt": "q", "answer": "b", "split": "test"}]
    rows += [{"prompt": "r", "answer": ["b", "c\n\nb"], "split": "test"}]
    (tmp_path / "own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    given = ["--task", "own_data", "task.path=own.jsonl", "--count", "2"]
    code, _, errors = call(*verb, *given)
    assert (code, errors.count("\n"), [*tmp_path.glob("lme")]) == (2, 1, [])
    assert r"own.jsonl:62: its answer 'c\n\nb' has 3 lines" in errors


def test_a_name_has_the_stem_of_a_file_and_some_digits_of_its_hash():
    task = OwnData(path="/far/away/words.jsonl", sha256="1ae3ef23" * 8, normalise="case")
    assert task_name(task, "forward") == "unforced_own_data_words_1ae3ef23_normalisecase"
