"""Own data: what is read, how it is split and scored, what is refused, and runs on it."""

import json
import random
import re

import numpy as np
import pytest

from tests.pretrained import save_with_tokenizer, saved_with_tokenizer
from tests.runs import tiny_run, train, unchecked
from unforced.cli.main import main
from unforced.errors import UserError
from unforced.experiment import diagnose_run, evaluate_run, load_run
from unforced.tasks.own_data import OwnData
from unforced.tasks.own_data.columns import Columns
from unforced.tasks.own_data.rows import read_rows
from unforced.tasks.own_data.splits import hash_of, normalised
from unforced.tasks.own_data.table import load
from unforced.testing import check_task

RNG = random.Random(0)
WORDS = sorted({"".join(RNG.choices("abc", k=RNG.randint(2, 5))) for _ in range(400)})
ROWS = [{"prompt": word, "answer": word[::-1]} for word in WORDS]
SMALL = ["max_steps=2", "evaluate_every=1", "num_evaluate=5", "num_test=5", "batch_size=8"]
OWN = ["stream=false", "num_train=null", "task=own_data"]
GPT = ["model.layers=1", "model.width=16", "model.heads=2"]
MAMBA = ["model=mamba", "model.layers=1", "model.width=16"]


def lines(rows):
    return "".join(json.dumps(row) + "\n" for row in rows)


def written(path, rows):
    path.write_text(lines(rows), encoding="utf-8")
    return str(path)


@pytest.fixture
def file(tmp_path):
    return written(tmp_path / "own.jsonl", ROWS)


def pairs(task):
    """The prompts and answers of each split."""
    listed = {split: task.listed(split) for split in task.splits}
    return {
        split: dict(zip(some.prompt.tolist(), (r[0] for r in some.right), strict=True))
        for split, some in listed.items()
    }


class TestReading:
    def test_it_keeps_to_the_contract_of_tasks(self, file):
        check_task(OwnData(path=file, separator="="))

    def test_nothing_need_stand_between_prompts_and_answers_that_are_told_apart(self, tmp_path):
        rows = [{"prompt": f"{row['prompt']}=", "answer": row["answer"]} for row in ROWS]
        path = written(tmp_path / "own.jsonl", rows)
        check_task(OwnData(path=path, separator=""))
        task = OwnData(path=path, separator="", tokenizer=saved_with_tokenizer("gpt2"), unseen="keep")
        some = task.listed("train")
        assert "" not in task.alphabet
        assert task.prompts(some).max(axis=0)[-1] == task.alphabet.index("=")

    def test_every_format_gives_the_same_problems(self, tmp_path, file):
        import datasets
        import pandas as pd

        table = pd.DataFrame(ROWS)
        table.to_csv(tmp_path / "own.csv", index=False)
        table.to_csv(tmp_path / "own.tsv", index=False, sep="\t")
        table.to_parquet(tmp_path / "own.parquet")
        datasets.Dataset.from_pandas(table).save_to_disk(tmp_path / "saved")
        want = pairs(OwnData(path=file))
        assert sum(map(len, want.values())) == len(ROWS)
        for name in ("own.csv", "own.tsv", "own.parquet", "saved"):
            assert pairs(OwnData(path=str(tmp_path / name))) == want

    def test_a_dataset_dict_has_the_splits_that_it_names(self, tmp_path):
        import datasets

        parts = {"train": ROWS[:50], "dev": ROWS[50:70], "test": ROWS[70:100]}
        named = {split: datasets.Dataset.from_list(rows) for split, rows in parts.items()}
        datasets.DatasetDict(named).save_to_disk(tmp_path / "saved")
        task = OwnData(path=str(tmp_path / "saved"))
        assert [len(some) for some in pairs(task).values()] == [50, 20, 30]
        assert task.place(task.listed("test"), 2).endswith("saved, test, row 3")

    def test_columns_lists_of_answers_and_numbers(self, tmp_path):
        rows = [{"q": i, "a": [i + 1, f"{i + 1}.0"], "part": "train"} for i in range(30)]
        for i, split in ((0, "test"), (1, "val")):
            rows[i]["part"] = split
        settings = {"prompt_column": "q", "answer_column": "a", "split_column": "part", "unseen": "keep"}
        task = OwnData(path=written(tmp_path / "own.jsonl", rows), **settings)
        test = task.listed("test")
        assert (test.prompt.tolist(), test.right.tolist()) == (["0"], [("1", "1.0")])
        assert not task.unique_answer
        said = np.array([[task.alphabet.index(sign) for sign in "1.0"]])
        assert task.score(test, said[:, : task.answer_length]).exact.all()

    @pytest.mark.parametrize("sign", [";", "\t"])
    def test_a_csv_file_may_have_another_separator(self, tmp_path, file, sign):
        text = f"prompt{sign}answer\n" + "".join(f"{row['prompt']}{sign}{row['answer']}\n" for row in ROWS)
        (tmp_path / "own.csv").write_text(text)
        assert pairs(OwnData(path=str(tmp_path / "own.csv"))) == pairs(OwnData(path=file))
        (tmp_path / "own.csv").write_text(text.replace("answer", "reply", 1))
        with pytest.raises(UserError, match="no column 'answer'; it has prompt, reply;"):
            OwnData(path=str(tmp_path / "own.csv")).listed("train")

    def test_a_name_of_two_columns_is_refused(self, tmp_path):
        (tmp_path / "own.csv").write_text("prompt,prompt,answer\na,b,c\n")
        with pytest.raises(UserError, match=r"own\.csv: 2 columns are named 'prompt'"):
            OwnData(path=str(tmp_path / "own.csv")).listed("train")

    @pytest.mark.parametrize("kind", ["prompt", "answer"])
    def test_one_that_is_far_longer_than_most_is_named(self, tmp_path, kind):
        rows = [*ROWS[:70], {**ROWS[70], kind: "ab" * 500}, *ROWS[71:]]
        task = OwnData(path=written(tmp_path / "own.jsonl", rows))
        assert re.search(rf"own\.jsonl:71: the {kind} has 1,000 characters, the median is 4;", task.notice)
        assert not OwnData(path=written(tmp_path / "plain.jsonl", ROWS)).notice

    def test_numbers_stay_as_they_are_written_and_classes_have_names(self, tmp_path):
        import datasets
        import pyarrow as pa
        import pyarrow.parquet as pq

        values = ["3.10", "-0", "1e3", "12345678901234567890123"]
        rows = "".join(f'{{"prompt": "p{i}", "answer": {value}}}\n' for i, value in enumerate(values * 40))
        (tmp_path / "own.jsonl").write_text(rows)
        task = OwnData(path=str(tmp_path / "own.jsonl"), unseen="keep", conflicts="accept")
        assert {right[0] for right in load(task).problems.right} == {*values}
        prompts = [f"p{i}" for i in range(90)]
        floats = pa.array([5.0, 0.1, 2.5] * 30, pa.float32())
        pq.write_table(pa.table({"prompt": prompts, "answer": floats}), tmp_path / "own.parquet")
        classes = datasets.ClassLabel(names=["even", "odd"])
        features = datasets.Features({"prompt": datasets.Value("string"), "answer": classes})
        saved = datasets.Dataset.from_dict({"prompt": prompts, "answer": [0, 1] * 45}, features)
        saved.save_to_disk(tmp_path / "saved")
        saved.to_parquet(tmp_path / "classes.parquet")
        for name, want in {
            "own": {"5", "0.1", "2.5"},
            "saved": {"even", "odd"},
            "classes": {"even", "odd"},
        }.items():
            path = tmp_path / (name if name == "saved" else f"{name}.parquet")
            found = load(OwnData(path=str(path), unseen="keep")).problems
            assert {right[0] for right in found.right} == want

    def test_a_csv_file_may_have_a_long_cell_and_must_not_be_empty(self, tmp_path):
        long = "ab" * 70_000
        (tmp_path / "own.csv").write_text(f"prompt,answer\n{long},b\n")
        [row] = read_rows(tmp_path / "own.csv", Columns("prompt", "answer", None, False), "task.path")
        assert row.prompt == long
        (tmp_path / "own.csv").write_text("\n")
        with pytest.raises(UserError, match=r"own\.csv: no rows in it; its first line names the columns"):
            OwnData(path=str(tmp_path / "own.csv")).listed("train")

    def test_a_quoted_line_break_counts_as_a_line(self, tmp_path):
        (tmp_path / "own.csv").write_text('prompt,answer\n"two\nlines",b\nc,\n')
        with pytest.raises(UserError, match=r"own\.csv:4: the answer"):
            OwnData(path=str(tmp_path / "own.csv")).listed("train")


class TestSplits:
    def test_by_hash_they_are_the_same_whatever_the_order_and_blanks(self, tmp_path, file):
        want = pairs(OwnData(path=file))
        moved = [{**row, "prompt": f" {row['prompt']}  "} for row in reversed(ROWS)]
        again = pairs(OwnData(path=written(tmp_path / "moved.jsonl", moved)))
        for split, some in want.items():
            assert {prompt.strip() for prompt in again[split]} == set(some)
        assert 0.03 < len(want["test"]) / len(ROWS) < 0.2

    def test_one_that_no_row_names_takes_a_share_of_the_training_rows(self, tmp_path):
        rows = [{**row, "split": "test" if i < 20 else "train"} for i, row in enumerate(ROWS)]
        found = pairs(OwnData(path=written(tmp_path / "own.jsonl", rows)))
        assert set(found["test"]) == {row["prompt"] for row in ROWS[:20]}
        assert 0 < len(found["validation"]) < 0.3 * len(ROWS)

    def test_repeats_are_dropped_and_the_rest_is_a_choice(self, tmp_path):
        rows = [*ROWS, ROWS[3], {"prompt": ROWS[5]["prompt"], "answer": "aaa"}]
        path = written(tmp_path / "own.jsonl", rows)
        first, both = (OwnData(path=path, conflicts=choice) for choice in ("first", "accept"))
        assert "dropped: 1 repeated, 1 conflicting" in first.describe()
        split = next(name for name, some in pairs(both).items() if ROWS[5]["prompt"] in some)
        listed = both.listed(split)
        of_it = [r for p, r in zip(listed.prompt, listed.right, strict=True) if p == ROWS[5]["prompt"]]
        assert sorted(of_it) == sorted([(ROWS[5]["answer"], "aaa"), ("aaa", ROWS[5]["answer"])])

    def test_prompts_in_two_splits_may_be_left_to_training(self, tmp_path):
        rows = [{**row, "split": "train"} for row in ROWS]
        rows += [{**row, "split": "test"} for row in ROWS[:9]] + [
            {"prompt": "cccccc", "answer": "cccccc", "split": "test"}
        ]
        task = OwnData(path=written(tmp_path / "own.jsonl", rows), overlaps="drop")
        assert set(pairs(task)["test"]) == {"cccccc"}
        assert "9 overlapping" in task.describe()


@pytest.mark.parametrize(
    ("how", "same"),
    [
        ("none", ["New  York."]),
        ("whitespace", ["New  York.", " New York. "]),
        ("case", ["New  York.", "new york."]),
        ("punctuation", ["New  York.", "new york"]),
        ("whitespace", ["caf\u00e9", "cafe\u0301"]),
        ("case", ["\u0390", "\u1fd3"]),
        ("punctuation", ["(-3.5)", "-3.5."]),
        ("punctuation", ["1,7,9", "1, 7, 9"]),
    ],
)
def test_what_does_not_count_is_left_out(how, same):
    assert len({normalised(text, how) for text in same}) == 1
    others = {"none": "New York.", "whitespace": "new york.", "case": "new york"}
    assert how == "punctuation" or normalised(others[how], how) != normalised(same[0], how)


def test_signs_points_and_strokes_of_numbers_are_no_punctuation():
    texts = ["-5", "5", "3.5", "3,5", "35", ".5", "1/2", "1 2"]
    assert len({normalised(text, "punctuation") for text in texts}) == len(texts)
    assert normalised("pp. 3-5 and/or so.", "punctuation") == "pp 3 5 and or so"


def test_an_answer_is_of_a_kind(file):
    task = OwnData(path=file)
    some = task.listed("train").take(np.arange(4))
    answers = task.answers(some)
    answers[1], answers[3, 0] = answers[0], -2
    answers[2, :2] = task.alphabet.index("a")
    answers[2, 2:] = -1
    kinds = [task.score(some, answers).kinds[kind] for kind in task.score(some, answers).kind]
    assert kinds[0] == "correct"
    assert kinds[1] == "of_another_prompt"
    assert kinds[3] == "malformed"


def test_a_tokenizer_cuts_text_into_pieces_that_are_the_text(tmp_path):
    rows = [{"prompt": f"1,7|{i}", "answer": f"{i},9é 4"} for i in range(10, 90)]
    folder = saved_with_tokenizer("gpt2")
    task = OwnData(path=written(tmp_path / "own.jsonl", rows), tokenizer=folder, unseen="keep")
    some = task.listed("train")
    texts = task.text.answers(task.answers(some))
    assert texts == [right[0] for right in some.right]
    assert np.array_equal(task.text.read_answers(texts), task.answers(some))
    assert "é" in task.alphabet  # two tokens of bytes
    assert max(map(len, task.alphabet)) > 1
    check_task(task.model_copy(update={"separator": "="}))


OK = [{"prompt": f"p{i}", "answer": f"a{i}"} for i in range(100)]
BY_HASH = next(row for row in OK if hash_of(row["prompt"]) < 2**64 / 10)
BAD = {
    "columns": (lines([{"q": 1, "a": 2}]), [], r":1: no column 'prompt'; it has q, a; .*task\.prompt_column"),
    "empty": (lines([*OK, {"prompt": "x", "answer": " "}]), [], r":101: the answer \(answer\) is empty"),
    "lacking": (lines([*OK, {"prompt": "x"}]), [], r":101: no column 'answer'; it has prompt"),
    "json": (lines(OK) + "{oops\n", [], r":101: not JSON"),
    "list": (lines([*OK, {"prompt": "x", "answer": []}]), [], r":101: the answer .* empty list"),
    "type": (lines([*OK, {"prompt": "x", "answer": True}]), [], r":101: .* neither text nor a number"),
    "conflict": (
        lines([*OK, {"prompt": "p3", "answer": "z"}]),
        [],
        r"1 prompt has two or more answers, as 'p3': 'a3' \(line 4\) and 'z' \(line 101\); task.conflicts",
    ),
    "few": (lines(OK[:3]), [], r"the split validation is empty \(3 rows, task.held_out=0.1\)"),
    "overlap": (
        lines([{**row, "split": split} for split in ("train", "dev", "test") for row in OK[:7]]),
        [],
        r"7 prompts are in more than one split \(train and validation and test\), as 'p0' in train \(line",
    ),
    "split": (
        lines([{**row, "split": "easy"} for row in OK]),
        [],
        r":1: 'easy' is no split; it may be train, validation, test \(.*task.split_column=null splits",
    ),
    "tests": (lines([{**row, "split": "test"} for row in OK]), [], "no row names the split train; name the"),
    "by hash": (
        lines([*({**row, "split": "train"} for row in OK), {**BY_HASH, "split": "test"}]),
        [],
        r"in validation, by hash of train rows \(line \d+\) and test \(line \d+\)",
    ),
    "forms": (
        lines([*OK, *({"prompt": word, "answer": word} for word in ("caf\u00e9", "cafe\u0301 "))]),
        ["task.normalise=none"],
        r"1 prompt has two or more answers, as .* \(line 101\) and .* \(line 102\)",
    ),
    "nan": (
        lines([*OK, {"prompt": "x", "answer": float("nan")}]),
        [],
        r":101: the answer .* no number, but nan",
    ),
    "half": (
        lines([*OK, {"prompt": "hi \ud83d", "answer": "1"}]),
        [],
        r":101: the prompt .* half a character",
    ),
    "named twice": (
        lines(OK) + '{"prompt": "x", "answer": "1", "answer": "2"}\n',
        [],
        r":101: 'answer' is there twice",
    ),
    "no separator": (
        lines([*OK, {"prompt": "q1", "answer": "23"}, {"prompt": "q12", "answer": "9"}]),
        ["task.separator="],
        r":102: its prompt is that of .*:101 and the beginning of its answer; give a task.separator",
    ),
    "unseen": (
        lines([*({**row, "split": "train"} for row in OK), {"prompt": "é", "answer": "a", "split": "test"}]),
        [],
        r"1 character that training never shows, in 1 place, as 'é' in .*:101; task.unseen=drop",
    ),
    "count": (lines(OK), ["num_train=5000"], r"num_train: 5,000 .* give 8\d at the most, or null for all"),
    "gone": (lines(OK), ["task.path=./gone.csv"], r"there is no .*gone.csv"),
    "unnamed": (lines(OK), ["task.path="], r"task.path: name your data"),
    "twice": (lines(OK), ["task.answer_column=prompt"], r"answer_column: 'prompt' is the column of prompts"),
    "test": (
        lines(OK),
        ["task.test_path=./bad.jsonl", "task.overlaps=drop"],
        r"all 100 problems of task.test_path are in task.path, too",
    ),
    "tokenizer": (lines(OK), ["task.tokenizer=./gone"], r"task.tokenizer: there is no folder /\S+gone;"),
    "hub": (lines(OK), ["task.tokenizer=none"], r"no folder none here, and the hub gave no tokenizer \("),
    "utf-8": ('{"prompt": "a", "answer": "\udce9"}', [], r":1: not UTF-8 text"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_data_is_one_line_before_anything_is_written(tmp_path, capsys, monkeypatch, case):
    content, overrides, message = BAD[case]
    path = tmp_path / "bad.jsonl"
    path.write_text(content, encoding="utf-8", errors="surrogateescape")
    out = tmp_path / "out"
    monkeypatch.chdir(tmp_path)
    with unchecked(), pytest.raises(SystemExit) as exit_:
        main(["train", "small_own_data", f"task.path={path}", *overrides, "--out", str(out)])
    [line] = capsys.readouterr().err.splitlines()
    assert exit_.value.code == 2
    assert not out.exists()
    assert re.search(message, line), line


@pytest.mark.parametrize("model", [GPT, MAMBA], ids=["gpt", "mamba"])
def test_a_run_on_own_data_is_measured_and_refuses_a_file_that_has_changed(tmp_path, file, model):
    run = tiny_run(*OWN, f"task.path={file}", *model, *SMALL)
    assert run.training_count == len(run.task.listed("train")) > 100
    out = tmp_path / "run"
    train(run, out)
    assert json.loads((out / "config.json").read_text())["task"]["sha256"] == run.task.sha256 != ""
    result = json.loads((out / "result.json").read_text())
    assert result["test.free.exact"]["total"] == 5
    with open(file, "a", encoding="utf-8") as more:
        more.write(lines([{"prompt": "cccc", "answer": "cccc"}]))
    changed = run.replace(task={"path": file})
    assert changed.fingerprint != run.fingerprint
    with pytest.raises(UserError, match=r"own.jsonl has changed since the run was begun; restore it"):
        train(changed, out, resume=True)
    load.cache_clear()  # as another process
    with pytest.raises(UserError, match=r"own.jsonl has changed: its SHA-256 is \w+, and was"):
        evaluate_run(load_run(out), ["test"], 5)


def test_a_run_refuses_a_tokenizer_that_has_changed_and_takes_one_that_no_hash_was_recorded_of(
    tmp_path, file
):
    folder = save_with_tokenizer("gpt2", tmp_path / "tokenizer")
    run = tiny_run(*OWN, f"task.path={file}", f"task.tokenizer={folder}", "task.unseen=keep", *GPT, *SMALL)
    out, config = tmp_path / "run", tmp_path / "run" / "config.json"
    train(run, out)
    recorded = json.loads(config.read_text())
    assert recorded["task"]["tokenizer_sha256"] == run.task.tokenizer_sha256 != ""
    assert run.override(["task.tokenizer=null"]).task.tokenizer_sha256 == ""
    vocabulary = tmp_path / "tokenizer" / "tokenizer.json"
    vocabulary.write_text(vocabulary.read_text() + "\n")
    changed = run.replace(task={"tokenizer": folder})
    with pytest.raises(UserError, match=r"tokenizer has changed since the run was begun; restore it"):
        train(changed, out, resume=True)
    load.cache_clear()  # as another process
    with pytest.raises(UserError, match=r"tokenizer has changed: its SHA-256 is \w+, and was"):
        evaluate_run(load_run(out), ["test"], 5)
    del recorded["task"]["tokenizer_sha256"]  # as an earlier version wrote it
    config.write_text(json.dumps(recorded))
    assert load_run(out).run.changes(changed) == []
    evaluate_run(load_run(out), ["test"], 5)


class TestPretrained:
    def run(self, file, *overrides, folder=None):
        model = ["model=pretrained", f"model.name_or_path={folder or saved_with_tokenizer('gpt2')}"]
        return tiny_run(*OWN, f"task.path={file}", *model, *SMALL, "precision=fp32", *overrides)

    def test_it_trains_on_the_texts_and_is_diagnosed_on_all_there_is(self, tmp_path, file):
        run = self.run(file)
        out = tmp_path / "run"
        train(run, out)
        with unchecked():
            found = diagnose_run(out, 400, 0.95)
        assert found["problems"]["test"] == len(run.task.listed("test"))
        batch = run.codec.encode(run.task.listed("test"), "forward")
        read = run.codec.read(batch.answer, "forward")
        assert run.task.score(run.task.listed("test"), read).exact.all()

    def test_a_tokenizer_that_joins_prompt_and_answer_is_refused_with_the_line(self, tmp_path):
        file = written(tmp_path / "own.jsonl", [{"prompt": f"1,{i}", "answer": f"0{i}"} for i in range(50)])
        with pytest.raises(UserError, match=r"own.jsonl:\d+: .* joins the end of a prompt .*task.separator"):
            self.run(file, 'task.separator="1"', "task.unseen=keep").codec  # noqa: B018

    @pytest.mark.parametrize("kind", ["prompt", "answer"])
    def test_one_longer_than_the_model_reads_is_refused_with_the_line(self, tmp_path, kind):
        rows = [*ROWS, {"prompt": "a", "answer": "a", kind: "abc" * 30}]
        folder = save_with_tokenizer("gpt2", tmp_path / "model", positions=40)
        run = self.run(written(tmp_path / "own.jsonl", rows), folder=folder)
        with pytest.raises(
            UserError, match=rf"own.jsonl:{len(rows)}: the {kind} has 9[01] tokens, .* 1 {kind} is"
        ):
            train(run, tmp_path / "run")
        assert not (tmp_path / "run").exists()
