"""`import unforced as uf`: what notebooks and scripts use."""

import json
import os
import signal
import subprocess
import sys
import types
from typing import ClassVar, Literal

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import unforced as uf
from tests.pretrained import CAUSAL, OTHERS
from tests.runs import stop_at, tiny_run, unchecked
from tests.tokens import letters
from unforced.data.tokenizer import symbol_tokenizer
from unforced.interface.progress import NotebookBar
from unforced.objectives.next_token import NextToken
from unforced.runs.folder import RunFolder
from unforced.tasks.line_task import LineTask
from unforced.tasks.path_star import PathStar
from unforced.training.loop import Unobserved

SILENT = Unobserved()
ENOUGH = 1600  # held-out problems that carry a verdict
SNIPPET = """
import sys
import unforced as uf

assert "torch" not in sys.modules
run = uf.recipe("quickstart.teacherless").replace(seed=3, max_steps=20, num_test=1600, num_evaluate=50)
run = run.replace(model={"layers": 1, "width": 16})
assert list(uf.recipe("quickstart")) == ["next_token", "reversed", "teacherless"]
fit = uf.train(run)
print(fit.metrics[["step", "samples", "loss", "validation.free.exact"]])
result = fit.evaluate(split="test", count=1000)
assert result["test.free.exact"]["total"] == 1000
diagnosis = fit.diagnose()
print(diagnosis.verdict, diagnosis.reasons, diagnosis.to_dict()["confidence"])
answers = fit.answer(["1,7|1,4|7,9|4,2/1,9="])
fit.plot().savefig("curves.png")
uf.train(run.replace(num_test=50, max_steps=2), out="runs/x")
assert uf.load("runs/x").run.seed == 3
assert len(uf.runs("runs").to_frame())
study = uf.study("pitfalls_small").replace(max_steps=2, num_test=1600, num_evaluate=20)
study = study.replace(model={"layers": 1, "width": 16})
done = study.run(out="runs/study", only="2x4-next_token-0")
assert not done.failed, done
uf.report("runs")
first = next(iter(uf.problems(run.task, split="train", seed=0)))
print(first.prompt, first.answer, first.prompt_symbols, first.answer_symbols)
"""


@pytest.fixture(autouse=True)
def types_unchecked():
    """Give what users give by mistake, which checks of types would refuse before it is named in one line."""
    with unchecked():
        yield


@pytest.fixture(scope="module")
def run():
    return tiny_run(f"num_test={ENOUGH}", "num_train=2000")


@pytest.fixture(scope="module")
def fit(run):
    with unchecked():
        return uf.train(run, observer=SILENT)


def test_importing_the_package_imports_nothing_heavy():
    command = [
        sys.executable,
        "-X",
        "importtime",
        "-c",
        "import unforced; unforced.__version__; dir(unforced)",
    ]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in said.splitlines()}
    assert "unforced" in modules
    assert not modules & {"torch", "numpy", "pydantic", "pandas", "rich", "matplotlib"}


def test_every_name_is_there_and_others_are_not():
    from unforced import runs, study  # noqa: F401  (modules have these names, too)

    assert all(getattr(uf, name) is not None for name in uf.__all__)
    assert not isinstance(uf.study, types.ModuleType)
    assert not isinstance(uf.runs, types.ModuleType)
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        uf.trian  # noqa: B018


def test_the_snippet_runs_as_a_script_elsewhere(tmp_path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", SNIPPET], cwd=tmp_path, capture_output=True, text=True, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert "not_yet_fitted" in done.stdout
    assert (tmp_path / "runs" / "report" / "index.html").exists()
    assert (tmp_path / "curves.png").stat().st_size > 10_000
    assert "step 20: loss" in done.stderr  # not a terminal: a line per evaluation


def test_in_memory_and_in_a_folder_a_run_is_the_same(run, fit, tmp_path):
    written = uf.train(run, out=tmp_path / "x", observer=SILENT)
    loaded = uf.load(str(tmp_path / "x"))
    times = ["seconds", "training_seconds", "samples_per_second"]
    for other in (written, loaded):
        pd.testing.assert_frame_equal(fit.metrics.drop(columns=times), other.metrics.drop(columns=times))
        same = fit.result.keys() - {"seconds", "training_seconds"}
        assert {key: fit.result[key] for key in same} == {key: other.result[key] for key in same}
    assert other.result.keys() == fit.result.keys() | {"config"}
    found = loaded.diagnose()
    assert json.loads((tmp_path / "x" / "diagnosis.json").read_text()) == found.to_dict()
    assert found.to_dict() == fit.diagnose().to_dict()
    assert uf.runs(tmp_path).summary().loc["x", "verdict"] == found.title
    with pytest.raises(uf.UserError, match="holds this run already; add resume=True to continue it"):
        uf.train(run, out=tmp_path / "x")


def test_metrics_are_fractions_by_step(run, fit):
    metrics = fit.metrics
    assert list(metrics["step"]) == [0, 10, 20, 30, 40]
    assert list(metrics["samples"]) == [32 * step for step in metrics["step"]]
    assert list(metrics.columns[:3]) == ["step", "samples", "loss"]
    line = fit.lines[-1]["validation.forced.token_2"]
    assert metrics["validation.forced.token_2"].iloc[-1] == line["correct"] / line["total"]
    assert metrics.filter(like="validation.free.errors").iloc[-1].sum() == run.num_evaluate


def test_a_run_is_measured_by_split_count_and_decoder(fit):
    result = fit.evaluate(split=["validation", "test"], count=40)
    assert result["validation.free.exact"]["total"] == result["test.forced.token_1"]["total"] == 40
    assert result["decoder"]["temperature"] == 0
    assert fit.evaluate("test", 40, "autoregressive")["test.free.exact"] == result["test.free.exact"]
    assert fit.evaluate("test", 40, {"temperature": 1.0})["decoder"]["temperature"] == 1.0
    for mistake, arguments in {
        "unknown split 'tset'; did you mean 'test'": {"split": "tset"},
        "count: give a whole number from 1 up, not 0": {"count": 0},
        "unknown decoder 'beam'": {"decoder": "beam"},
    }.items():
        with pytest.raises(uf.UserError, match=mistake):
            fit.evaluate(**arguments)


def test_a_diagnosis_reads_well_in_terminal_and_notebook(fit):
    found = fit.diagnose()
    assert found.verdict == found.to_dict()["verdict"]["name"]
    assert str(found).startswith(f"{fit.name}: {found.title}")
    assert all(reason.split(";")[0][:60] in str(found) for reason in found.reasons)
    assert len(found.explain()) > 2 * len(str(found))
    odd = type(found)("<b>&", found.values | {"verdict": found.values["verdict"] | {"because": ["a <i> b"]}})
    page = odd._repr_html_()
    assert "&lt;b&gt;&amp;" in page
    assert "a &lt;i&gt; b" in page
    assert "<i>" not in page
    with pytest.raises(uf.UserError, match="count=1537 or more"):
        fit.diagnose(count=100)
    with pytest.raises(uf.UserError, match="confidence: 1 is not above"):
        fit.diagnose(confidence=1)


def test_answers_are_read_answered_and_scored(fit):
    right, other = "1,7|1,4|7,9|4,2/1,9=", "1,7|1,4|7,9|4,2|9,3|2,5/1,3="
    given = fit.answer([right, other, "nonsense"])
    assert list(given.columns) == ["prompt", "answer", "true", "verdict", "reason"]
    assert given.loc[0, "true"] == "1,7,9"
    assert given.loc[0, "verdict"] in fit.run.task.verdict_kinds
    assert "it is G(2, 4), and the task is G(2, 3)" in given.loc[1, "reason"]
    assert list(given["verdict"][1:]) == ["unreadable"] * 2
    held_out = uf.problems(fit.run, split="test", count=30)
    asked = fit.answer(held_out)
    assert list(asked["true"]) == [example.answer for example in held_out]
    wrong = asked["verdict"] != "correct"
    assert (asked["answer"] == asked["true"])[~wrong].all()
    assert (asked["reason"] != "")[wrong].all()
    assert 30 - wrong.sum() == fit.evaluate(split="test", count=30)["test.free.exact"]["correct"]
    assert list(fit.answer(example.prompt for example in held_out)["answer"]) == list(asked["answer"])
    with pytest.raises(uf.UserError, match="these are not problems of"):
        fit.answer(uf.problems("addition", count=2))
    with pytest.raises(uf.UserError, match="give a prompt"):
        fit.answer([])


def test_learning_curves_show_every_position_in_both_modes(fit):
    free, forced = fit.plot().axes
    assert len(free.lines) == len(forced.lines) == fit.run.task.answer_length + 2  # training, chance
    right = fit.metrics["validation.free.token_1"]
    assert np.allclose(free.lines[1].get_ydata(), right)


def test_problems_are_lazy_endless_and_can_be_iterated_again():
    stream = uf.problems("path_star", seed=1, degree=2, path_length=3, num_nodes=12)
    block = stream.task.block_size
    ahead = stream[block - 1 : block + 2]
    assert [example.prompt for example in ahead] == [stream[block + i].prompt for i in (-1, 0, 1)]
    few = uf.problems(PathStar(degree=2, path_length=3, num_nodes=12), seed=1, count=3)
    assert list(few) == list(few) == list(stream[:3])
    assert len(few) == 3
    example = few[-1]
    symbols = [few.task.alphabet[symbol] for symbol in example.prompt_symbols]
    assert "".join(symbols) == example.prompt.replace(",", "")
    turned = uf.problems(few.task, seed=1, count=3, order="reversed")[2]
    assert turned.answer_symbols == example.answer_symbols[::-1]
    with pytest.raises(uf.UserError, match="unknown split"):
        uf.problems(few.task, split="trian")
    with pytest.raises(uf.UserError, match="unknown task 'pathstar'; did you mean 'path_star'"):
        uf.problems("pathstar")
    with pytest.raises(IndexError):
        few[3]


def test_ctrl_c_leaves_a_checkpoint_and_the_run_continues(run, fit, tmp_path):
    path, before = tmp_path / "x", signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt, match="continue with resume=True"):
        uf.train(run, out=path, observer=stop_at(20, signal.SIGINT))
    assert signal.getsignal(signal.SIGINT) is before
    stopped = uf.load(path)
    assert stopped.step == 20
    with pytest.raises(uf.UserError, match="has not finished: step 20 of 40"):
        stopped.result  # noqa: B018
    assert stopped.evaluate(split="test", count=20)["test.free.exact"]["total"] == 20
    resumed = uf.train(run, out=path, resume=True, observer=SILENT)
    assert resumed.result["test.free.exact"] == fit.result["test.free.exact"]
    with pytest.raises(KeyboardInterrupt, match="with out= a checkpoint is kept"):
        uf.train(run, observer=stop_at(20, signal.SIGINT))
    with pytest.raises(uf.UserError, match="as out="):
        uf.train(run, resume=True)


class Sorting(LineTask):
    """Sort digits."""

    name: Literal["interface_sorting"] = "interface_sorting"
    answer_signs: ClassVar = tuple("0123")
    other_signs: ClassVar = ("=",)
    longest: ClassVar = (4, 3)

    def make(self, rng):
        digits = [str(digit) for digit in rng.integers(4, size=rng.integers(2, 4))]
        return [*digits, "="], sorted(digits)


class Again(NextToken):
    """Next-token prediction by another name."""

    name: Literal["interface_again"] = "interface_again"

    def view(self, batch, moment):
        seen.append(type(self))
        return super().view(batch, moment)


seen = []


def test_parts_of_ones_own_are_passed_as_objects(run):
    own = run.replace(task=Sorting(), objective=Again(), stream=True, max_steps=3, num_test=20)
    fit = uf.train(own, observer=SILENT)
    assert seen == [Again] * 4  # the first to count operations
    answered = fit.answer(["3 1 2 ="])
    assert answered.loc[0, "true"] is None
    assert answered.loc[0, "verdict"] is None
    assert set(answered.loc[0, "answer"].split()) <= {*"0123", "?"}
    assert uf.Run.from_tree(own.tree()) == own  # known by name in this process
    with pytest.raises(uf.UserError, match="not a class of tasks"):
        uf.register(3)


def test_a_notebook_gets_a_bar_without_widgets(monkeypatch, run):
    shown = []
    handle = types.SimpleNamespace(update=lambda bar: shown.append(bar._repr_html_()))
    display = types.SimpleNamespace(display=lambda bar, display_id: handle)
    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=lambda: shell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    uf.train(run)
    assert "40/40 steps" in shown[-1]
    assert "validation forced" in shown[-1]
    bar = NotebookBar(10)
    bar.say("<script>")
    assert "<script>" not in bar._repr_html_()


TASK = PathStar(degree=2, path_length=3, num_nodes=8)


@pytest.mark.parametrize("encoding", ["symbol", "symbol tokenizer", "text"])
def test_a_network_that_was_trained_elsewhere_is_diagnosed_as_what_it_is(encoding):
    """It memorised a few problems, and knows no others."""
    torch.manual_seed(0)
    train = uf.problems(TASK, count=24)
    tokenizer, length = None, 32
    if encoding == "text":
        tokenizer = letters(TASK.lines(train.arrays()))
        texts = [(tokenizer(each.prompt).input_ids, tokenizer(each.answer).input_ids) for each in train]
        pairs = [(prompt, [*answer, tokenizer.eos_token_id]) for prompt, answer in texts]
        vocab = len(tokenizer)
    else:
        pairs = [(list(example.prompt_symbols), list(example.answer_symbols)) for example in train]
        vocab = len(TASK.alphabet)
        if encoding == "symbol tokenizer":
            tokenizer = symbol_tokenizer(TASK, 0, length)
            vocab += 1
    tokens = torch.tensor([[*prompt, *answer] for prompt, answer in pairs])
    labels = torch.tensor([[*[-100] * len(prompt), *answer] for prompt, answer in pairs])
    network = CAUSAL["gpt2"](vocab, 64).eval()  # without dropout it memorises sooner
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-2)
    while (loss := network(tokens, labels=labels).loss) > 0.05:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.train()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    attention = network.config._attn_implementation
    found = uf.diagnose(network, tokenizer, task=TASK, train=train, count=ENOUGH)
    sections = found.to_dict()
    assert sections["exact"]["train"]["total"] == 24
    assert sections["exact"]["test"]["total"] == ENOUGH
    assert found.verdict == "memorised"
    assert "trained elsewhere" in sections["learned"]["does_not_apply"]
    assert str(found).startswith("GPT2LMHeadModel on path-star G(2,3) with 8 labels: ")
    assert network.training
    assert network.config._attn_implementation == attention
    assert all(torch.equal(before[key], value) for key, value in network.state_dict().items())


def test_what_cannot_be_diagnosed_is_one_line():
    network = CAUSAL["gpt2"](len(TASK.alphabet), 64)
    small = CAUSAL["gpt2"](len(TASK.alphabet), 8)
    endless = letters(TASK.lines(uf.problems(TASK, count=9).arrays()))
    endless.eos_token = None
    for mistake, arguments in {
        "network: give a causal language model of transformers, not a Linear": (nn.Linear(2, 2), None),
        r"network: this GPT2LMHeadModel reads at most 8 tokens, and problem 0 of the test split \(seed 0\)": (
            small,
            None,
        ),
        "network: this MistralForCausalLM attends to no more than the last 6 tokens, and problem 0": (
            OTHERS["mistral"](len(TASK.alphabet), 64),
            None,
        ),
        r"network: this GraniteForCausalLM \(granite\) computes its logits in another way": (
            OTHERS["granite"](len(TASK.alphabet), 64).bfloat16(),
            None,
        ),
        "tokenizer: the tokenizer of this GPT2LMHeadModel has no eos_token": (network, endless),
    }.items():
        with pytest.raises(uf.UserError, match=mistake):
            uf.diagnose(*arguments, task=TASK, count=ENOUGH)
    with pytest.raises(uf.UserError, match="teacherless hides answer tokens behind a mask token"):
        uf.diagnose(network, task=TASK, objective="teacherless", count=ENOUGH)
    with pytest.raises(uf.UserError, match=r"^confidence: 2 is not above 0\.5"):
        uf.diagnose(network, task=TASK, confidence=2)
    with pytest.raises(uf.UserError, match="unknown encoding 'txt'"):
        uf.diagnose(network, task=TASK, encoding="txt")


def test_a_collection_names_its_runs_and_loads_them(trained, tmp_path):
    trained(tiny_run(), tmp_path / "a")
    trained(tiny_run("seed=1"), tmp_path / "b")
    (tmp_path / "c").mkdir()
    (tmp_path / "c" / "config.json").write_text("{}")
    runs = uf.runs(tmp_path)
    assert list(runs) == ["a", "b"]
    assert runs["b"].run.seed == 1
    assert len(runs.groups) == 1
    assert set(runs.to_frame()["run"]) == {"a", "b"}
    assert [*runs.skipped] == [str(tmp_path / "c")]
    with pytest.raises(uf.UserError, match="unknown run 'bb'; did you mean 'b'"):
        runs["bb"]
    report = uf.report(tmp_path, to=tmp_path / "paper")
    assert report.page.read_text().startswith("<!doctype html>")
    assert all(file.exists() for file in report.files)
    assert RunFolder(tmp_path / "a").read_result()["steps"] == 40
    with pytest.raises(uf.UserError, match="say where the report is written: to=FOLDER"):
        uf.report(tmp_path / "a", tmp_path / "b")
