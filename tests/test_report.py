"""`unforced report`, on runs that train in a second."""

import json
import shutil
from dataclasses import replace
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
import pytest
from matplotlib.collections import PathCollection
from PIL import Image

from tests.runs import command, tiny_run
from unforced.expectations import Expectation, judge
from unforced.experiment import diagnose_run
from unforced.reporting.curves import group_curves, run_curves
from unforced.reporting.expectations_table import Judged, judge_studies
from unforced.reporting.load import collect_runs
from unforced.reporting.report import write_report
from unforced.reporting.report_figures import FIGURES as DRAWN
from unforced.reporting.report_figures.accuracy import prepare_accuracy
from unforced.reporting.report_figures.cascade import cascade, prepare_cascade
from unforced.reporting.report_figures.compute import prepare_compute
from unforced.reporting.report_figures.curves import learning_curves
from unforced.reporting.report_figures.errors import median_seed, prepare_errors
from unforced.reporting.report_figures.margins import decision_margins
from unforced.reporting.report_figures.solved import prepare_solved_by
from unforced.reporting.report_figures.style import marks, pages
from unforced.reporting.report_figures.success import prepare_success
from unforced.reporting.report_tables.expected import expectations
from unforced.reporting.tables import MET, MISSED, latex
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import group_runs, natural

SEEDS, KINDS = (0, 1), {"next_token": "order=forward", "reversed": "order=reversed"}
NAMES = [f"{kind}-{seed}" for kind in KINDS for seed in SEEDS]
OVER_TRAINING = {"cascade", "decision_margins", "learning_curves"}
FIGURES = {"accuracy", "compute", "error_kinds", "solved_by", "success", *OVER_TRAINING}
EXPECTED = {"measure": "test.free.exact", "source": "a paper & 50% of Table_1", "tolerance": 0.0}
EXPECTATIONS = [
    {**EXPECTED, "group": "forward", "select": {"order": "forward"}, "relation": "at_most", "value": 1.0},
    {**EXPECTED, "group": "all", "select": {}, "relation": "at_most", "value": 1.0},
    {**EXPECTED, "group": "none", "select": {"order": "x"}, "relation": "about", "value": 1 / 3},
]


@pytest.fixture(scope="module")
def study(tmp_path_factory, trained):
    """Two groups of two seeds in the folder of a study, one run diagnosed."""
    folder = tmp_path_factory.mktemp("runs") / "study"
    for kind, override in KINDS.items():
        for seed in SEEDS:
            overrides = [override, f"seed={seed}", f"max_steps={40 + 10 * seed}", "num_test=1600"]
            trained(tiny_run(*overrides, "schedule_steps=40"), folder / f"{kind}-{seed}")
    diagnose_run(folder / "next_token-0", None, 0.95)
    content = {"name": "mine", "runs": {}, "expectations": EXPECTATIONS}
    (folder / "study.json").write_text(json.dumps(content))
    return folder


@pytest.fixture(scope="module")
def groups(study):
    """The same runs as groups by name; every max_steps is a group of its own, so they are made alike."""
    return {group.configuration: group for group in group_runs(collect_runs([study]).runs)}


def read(path):
    return json.loads(path.read_text())


def results(folder):
    return {name: read(folder / name / "result.json") for name in NAMES}


def report(call, *arguments):
    code, output, errors = call("report", *arguments)
    assert code == 0, errors
    return output, errors


@pytest.fixture
def copy(study, tmp_path):
    return shutil.copytree(study, tmp_path / "study")


def test_the_tidy_table_holds_every_measure_of_every_result(written, study):
    _, folder = written
    table, parquet = pd.read_csv(folder / "runs.csv"), pd.read_parquet(folder / "runs.parquet")
    assert list(table.columns) == list(parquet.columns)
    assert len(table) == len(parquet)
    for name, result in results(study).items():
        own = table[(table["run"] == name) & (table["mode"] != "diagnosis")].set_index(
            ["split", "mode", "measure"]
        )
        proportions = {key: value for key, value in result.items() if key.count(".") == 2}
        kinds = sum(len(value) for key, value in proportions.items() if key.endswith("errors"))
        assert len(own) == len([key for key in proportions if not key.endswith("errors")]) + kinds
        row = own.loc[("test", "free", "token_1")]
        for key in ("value", "correct", "total", "low", "high"):
            assert row[key] == pytest.approx(result["test.free.token_1"][key])
        for key in ("steps", "samples", "flops", "seconds"):
            assert row[key] == pytest.approx(result[key])
        counts = own["count"].dropna().loc["test"]
        assert sum(counts) == 1600
        for kind, count in result["test.free.errors"].items():
            assert own.loc[("test", "free", f"errors.{kind}"), "count"] == count
        assert row["fingerprint"] == result["run"]
        assert row["seed"] == int(name[-1])
        assert f"threads={result['hardware']['threads']}" in row["hardware"]
    assert {"max_steps", "order"} < set(table.columns)
    assert "learning_rate" not in table.columns
    assert str(parquet["correct"].dtype) == "Int64"


def test_the_tidy_table_names_studies_and_kinds_and_holds_the_diagnosis(written, study):
    table = pd.read_csv(written[1] / "runs.csv")
    assert set(table["study"]) == {"mine"}
    found = read(study / "next_token-0" / "diagnosis.json")
    rows = table[table["mode"] == "diagnosis"]
    assert set(rows["run"]) == {"next_token-0"}
    assert set(rows["kind"]) == {"next_token, 40 steps"}
    assert set(table[table["run"] == "next_token-0"]["verdict"]) == {found["verdict"]["title"]}
    assert table[table["run"] == "reversed-0"]["verdict"].isna().all()
    rows = rows.set_index(["measure", "split"])
    cheats, token = found["clever_hans"], found["indecipherable_token"]["token_1"]
    for measure, split, estimate in [
        ("clever_hans.cheat_accuracy", "test", cheats["cheat_accuracy"]),
        ("clever_hans.decoy_following", "test", cheats["decoy_following"]),
        ("clever_hans.question_blindness.decisions", "test", cheats["question_blindness"]["decisions"]),
        ("indecipherable_token.token_1", "train", token["train"]),
        ("indecipherable_token.token_1", "test", token["test"]),
    ]:
        for key, value in estimate.items():
            assert rows.loc[(measure, split), key] == pytest.approx(value)


@pytest.fixture(scope="module")
def written(study, tmp_path_factory):
    """The report on the study as it is."""
    folder = tmp_path_factory.mktemp("written") / "out"
    return write_report([study], folder), folder


def cells(line):
    return [cell.strip() for cell in line.strip("| \n").split(" | ")]


def test_the_accuracy_table_says_what_the_results_say(copy, call, without_figures):
    for name in NAMES:  # alike but for their seeds
        config = read(copy / name / "config.json") | {"max_steps": 40}
        (copy / name / "config.json").write_text(json.dumps(config))
    report(call, copy)
    header, _, *lines = (copy / "report" / "tables" / "accuracy.md").read_text().splitlines()
    rows = {cells(line)[1]: dict(zip(cells(header), cells(line), strict=True)) for line in lines[:2]}
    assert set(rows) == {"next_token", "next_token reversed"}
    assert lines[-1].endswith("In every row: model gpt; seeds 2.")
    latex = (copy / "report" / "tables" / "accuracy.tex").read_text()
    for kind, objective in {"next_token": "next_token", "reversed": "next_token reversed"}.items():
        row, found = rows[objective], [results(copy)[f"{kind}-{seed}"] for seed in SEEDS]
        assert (row["topology"], row["chance"]) == ("G(2,3)", "50.0")
        for column, key in {
            "held-out, free-running": "test.free.exact",
            "training, teacher-forced": "train.forced.exact",
        }.items():
            values = [100 * each[key]["value"] for each in found]
            middle, spread = f"{median(values):.1f}", f"({min(values):.1f}–{max(values):.1f})"
            assert row[column] == f"{middle} {spread}"
            assert f"{middle} & {spread.replace('–', '--')}" in latex
    assert latex.count(r"\toprule") == latex.count(r"\bottomrule") == 1
    assert r"next\_token reversed" in latex
    shares = (copy / "report" / "tables" / "success.md").read_text()
    assert shares.count("| 0 of 2 | 0.0% [0.0, 65.8] |") == 2


def test_the_diagnosis_table_says_what_the_diagnosis_says(written, study):
    found = read(study / "next_token-0" / "diagnosis.json")
    lines = (written[1] / "tables" / "diagnosis.md").read_text().splitlines()
    row = dict(zip(cells(lines[0]), cells(lines[2]), strict=True))
    token = found["indecipherable_token"]["token_1"]
    assert row["verdicts"] == f"{found['verdict']['title']} 1"
    assert row["cheat accuracy"].startswith(
        f"{100 * found['clever_hans']['cheat_accuracy']['value']:.1f} (one seed)"
    )
    assert row["token, training"].startswith(f"{100 * token['train']['value']:.1f} ")
    assert row["token, held-out"].startswith(f"{100 * token['test']['value']:.1f} ")
    assert row["chance"] == "50.0"
    assert lines[-1].endswith("In every row: model gpt; token token_1; seeds 1.")
    assert lines[3] == ""


def test_expectations_are_judged_on_the_runs_that_they_select(written, study):
    summary, folder = written
    forward, none = summary["expectations"]
    assert (forward["verdict"], forward["holds"], forward["total"]) == ("not enough seeds", 2, 2)
    values = [results(study)[f"next_token-{seed}"]["test.free.exact"]["value"] for seed in SEEDS]
    assert forward["median"] == median(values)
    assert (none["verdict"], none["total"]) == ("not enough seeds", 0)
    reason = summary["skipped"][f"{study}: expectation 2 (all)"]
    assert "it selects seed 0 twice, in next_token-0 and reversed-0" in reason
    table = (folder / "tables" / "expectations.md").read_text()
    assert "| forward | held-out, free-running | at most 100 | (a) | " in table
    assert "| none | held-out, free-running | about 33.3 | (a) | – | 0 |" in table
    assert table.count("a paper & 50% of Table_1: (a).") == 1
    assert "study mine" in table
    assert r"a paper \& 50\% of Table\_1" in (folder / "tables" / "expectations.tex").read_text()


def test_expectations_are_named_as_other_tables_do_and_say_once_what_a_source_says(copy):
    study = read(copy / "study.json")
    one = EXPECTATIONS[0] | {"select": {"order": "forward", "max_steps": 40}, "source": "We, 2024: solved"}
    other = one | {"measure": "test.forced.token_2", "source": "We, 2024: cheats"}
    part = one | {"measure": "test.slice.length_4.free.exact", "source": "They"}
    study["expectations"] = [one, other, one | {"source": "They"}]
    (copy / "study.json").write_text(json.dumps(study))
    collection = collect_runs([copy])
    table = expectations(group_runs(collection.runs), judge_studies(collection)[0])
    assert list(table.frame.index) == ["G(2,3)"] * 3
    assert set(table.frame["configuration"]) == {"next_token, 40 steps"}
    assert list(table.frame["measure"]) == [
        "held-out, free-running",
        "held-out, teacher-forced, token_2",
        "held-out, free-running",
    ]
    assert list(table.frame["source"]) == ["(a)", "(b)", "(c)"]
    assert "We, 2024: (a) solved, (b) cheats. They: (c)." in table.note
    sliced = Judged("mine", Expectation(**part), [], judge(Expectation(**part), []))
    assert sliced.measure == "held-out, free-running, length 4"


def test_latex_aligns_numbers_groups_rows_and_prints_its_note():
    index = pd.Index(["G(2,4)", "G(2,4)", "G(3,4)"], name="a_b")
    table = pd.DataFrame(
        {
            "kind": ["plain", "50% & more", "plain"],
            "n": ["7", "–", "1,250"],
            "right": ["9.5 (1.0–10.0)", "–", "100.0 (99.5–100.0)"],
            "words": ["short", "a verdict that goes on and on and on", "short"],
        },
        index=index,
    )
    assert latex(table, "In % of n.").splitlines() == [
        r"% needs \usepackage{booktabs,amssymb}",
        r"\begingroup\small\setlength{\tabcolsep}{3pt}%",
        r"\begin{tabular}{@{}llrr@{\,}lp{15em}@{}}",
        r"\toprule",
        r"a\_b & kind & n & \multicolumn{2}{c}{right} & words \\",
        r"\midrule",
        r"G(2,4) & plain & 7 & 9.5 & (1.0--10.0) & short \\",
        r" & 50\% \& more & -- & -- &  & a verdict that goes on and on and on \\",
        r"\addlinespace",
        r"G(3,4) & plain & 1,250 & 100.0 & (99.5--100.0) & short \\",
        r"\bottomrule",
        r"\end{tabular}\par\smallskip",
        r"\parbox{\linewidth}{\footnotesize In \% of n.}\par",
        r"\endgroup",
    ]


def test_five_seeds_get_a_tick_or_a_cross(copy, call, without_figures):
    for seed in range(2, 5):
        clone = shutil.copytree(copy / "next_token-0", copy / f"next_token-{seed}")
        (clone / "config.json").write_text(json.dumps(read(clone / "config.json") | {"seed": seed}))
    study = read(copy / "study.json")
    study["expectations"] = [EXPECTATIONS[0], EXPECTATIONS[0] | {"relation": "at_least", "source": "another"}]
    (copy / "study.json").write_text(json.dumps(study))
    report(call, copy)
    lines = (copy / "report" / "tables" / "expectations.md").read_text().splitlines()[2:4]
    assert [cells(line)[-1] for line in lines] == [MET, MISSED]
    assert [cells(line)[-2] for line in lines] == ["5 of 5", "0 of 5"]
    latex = (copy / "report" / "tables" / "expectations.tex").read_text()
    assert latex.count(r"$\checkmark$ \\") == latex.count(r"$\times$ \\") == 1


DAMAGES = {
    "config.json": ("{", "not JSON"),
    "result.json": ('{"steps": 3}', "field required"),
    "metrics.jsonl": ("nonsense\n", "line 1: not JSON"),
    "diagnosis.json": ("[]", "not a JSON object"),
}


@pytest.mark.parametrize("file", DAMAGES)
def test_a_damaged_run_is_skipped_and_named(copy, file):
    content, reason = DAMAGES[file]
    (copy / "next_token-1" / file).write_text(content)
    found = collect_runs([copy])
    assert [each.name for each in found.runs] == [name for name in NAMES if name != "next_token-1"]
    assert list(found.skipped) == [str(copy / "next_token-1")]
    assert reason in found.skipped[str(copy / "next_token-1")]


def test_what_was_skipped_stands_in_a_file_and_on_standard_error(copy, call, without_figures):
    (copy / "study.json").unlink()
    (copy / "next_token-1" / "config.json").write_text("{")
    output, errors = report(call, copy, "--json")
    skipped = json.loads(output)["skipped"]
    assert read(copy / "report" / "skipped.json") == skipped
    assert errors.splitlines() == [f"skipped {folder}: {reason}" for folder, reason in skipped.items()]
    assert "next_token-1" not in (copy / "report" / "runs.csv").read_text()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda result: result.pop("test.free.exact"), "test.free.exact: field required"),
        (lambda result: result["test.free.token_1"].pop("low"), "test.free.token_1: low: field required"),
        (lambda result: result.update({"train.free.errors": 3}), "train.free.errors holds no counts"),
        (lambda result: result.update({"flops": "many"}), "flops is not a number"),
    ],
)
def test_a_result_with_a_damaged_measure_is_skipped(copy, change, reason):
    file = copy / "next_token-1" / "result.json"
    result = read(file)
    change(result)
    file.write_text(json.dumps(result))
    assert reason in collect_runs([copy]).skipped[str(copy / "next_token-1")]


def test_a_run_without_config_or_result_is_named_and_one_without_history_is_not(copy):
    (copy / "next_token-0" / "config.json").unlink()
    (copy / "next_token-1" / "result.json").unlink()
    (copy / "reversed-0" / "metrics.jsonl").unlink()
    skipped = collect_runs([copy]).skipped
    assert "no config.json" in skipped[str(copy / "next_token-0")]
    assert skipped[str(copy / "next_token-1")] == "not finished"
    assert str(copy / "reversed-0") not in skipped


def test_a_run_that_was_stopped_is_not_finished(copy, trained):
    trained(tiny_run("seed=7"), copy / "stopped", stopped_at=20)
    assert collect_runs([copy]).skipped == {str(copy / "stopped"): "not finished"}


def test_a_copy_of_a_run_is_no_second_seed(copy):
    shutil.copytree(copy / "reversed-1", copy / "zzz")
    found = collect_runs([copy, copy / "zzz"])
    assert len(found.runs) == 4
    assert found.duplicates == {copy / "zzz": copy / "reversed-1"}
    assert found.skipped == {}


def test_a_study_has_its_seeds_also_where_another_folder_holds_the_same_runs(copy):
    other = copy.parent / "zzz-other"
    for seed in SEEDS:
        shutil.copytree(copy / f"next_token-{seed}", other / f"mine-{seed}")
    (other / "study.json").write_text(json.dumps({"runs": {}, "expectations": EXPECTATIONS[:1]}))
    judged, refused = judge_studies(collect_runs([copy, other]))
    (mine,) = (each for each in judged if each.study == "zzz-other")
    assert mine.judgement.total == 2
    assert not any("zzz-other" in each for each in refused)


def test_a_damaged_study_is_named_and_its_runs_are_reported(copy):
    (copy / "study.json").write_text(json.dumps({"runs": {}, "expectations": [{"group": "a"}]}))
    found = collect_runs([copy])
    assert len(found.runs) == 4
    assert "study.json: expectations" in found.skipped[str(copy)]


def test_an_exported_model_is_no_run(copy):
    (copy / "exported").mkdir()
    for name in ("config.json", "unforced.json"):
        (copy / "exported" / name).write_text("{}")
    assert collect_runs([copy]).skipped == {}


def test_strict_fails_after_writing(copy, call, without_figures):
    (copy / "study.json").unlink()
    assert call("report", copy, "--strict")[0] == 0
    (copy / "next_token-1" / "result.json").unlink()
    assert call("report", copy, "--strict", "--to", copy / "other")[0] == 1
    assert (copy / "other" / "runs.csv").exists()


def test_strict_fails_over_what_the_page_leaves_out(copy, call, without_figures):
    (copy / "study.json").unlink()
    (copy / "next_token-1" / "traces.json").write_text("{")
    code, _, errors = call("report", copy, "--strict")
    assert code == 1
    assert "next_token-1: without its traces" in errors


def one_line(call, *arguments):
    code, output, errors = call("report", *arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1), (output, errors)
    return errors


def test_mistakes_are_one_line(copy, tmp_path, call):
    (tmp_path / "empty").mkdir()
    assert "no run in" in one_line(call, tmp_path / "empty")
    assert "no such folder" in one_line(call, tmp_path / "nothing")
    assert "say where the report goes" in one_line(call, copy, copy)
    assert "is not the folder of a report" in one_line(call, copy, "--to", copy)
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "config.json").write_text("{")
    assert "no finished run" in one_line(call, tmp_path / "half")


def test_the_same_runs_give_the_same_bytes_in_another_process(written, study, tmp_path):
    summary, folder = written
    process = command("report", study, "--to", tmp_path / "again", "--json")
    output, errors = process.communicate()
    assert process.returncode == 0, errors
    again = json.loads(output)
    assert again | {"folder": str(folder)} == summary
    assert len(summary["files"]) == len([file for file in folder.rglob("*.*") if file.is_file()]) - 1
    for file in summary["files"]:
        assert (folder / file).read_bytes() == (tmp_path / "again" / file).read_bytes(), file


def test_every_figure_is_written_in_every_format(written):
    folder = written[1] / "figures"
    names = {file.stem for file in folder.iterdir()}
    assert {name.partition("-")[0] for name in names} == FIGURES
    for name in names:
        assert (folder / f"{name}.svg").read_text().startswith("<?xml")
        assert (folder / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        assert np.asarray(Image.open(folder / f"{name}.png").convert("L")).std() > 5


def test_what_is_no_longer_drawn_goes(copy, written, call):
    shutil.copytree(written[1], copy / "report")
    (copy / "study.json").write_text(json.dumps({"runs": {}}))
    for name in NAMES:
        (copy / name / "metrics.jsonl").unlink()
    report(call, copy)
    left = {file.stem for file in (copy / "report" / "figures").iterdir()}
    assert left == FIGURES - OVER_TRAINING
    assert not list((copy / "report" / "tables").glob("expectations.*"))


def test_margins_are_drawn_as_they_were_recorded(groups):
    group, reversed_group = groups["next_token, 40 steps"], groups["next_token reversed, 40 steps"]
    (axes,) = decision_margins([group, reversed_group])[""].axes  # a reversed answer decides nothing ahead
    lines = group.runs[0].lines
    drawn = axes.lines[1].get_xydata()
    assert drawn[:, 0].tolist() == [line["samples"] / 1000 for line in lines]
    assert drawn[:, 1].tolist() == [line["validation.margin.token_1"] for line in lines]


def test_groups_are_told_apart_by_what_differs_and_no_more(groups):
    assert set(groups) == {
        *(f"next_token, {40 + 10 * seed} steps" for seed in SEEDS),
        *(f"next_token reversed, {40 + 10 * seed} steps" for seed in SEEDS),
    }
    assert all(group.topology == "G(2,3)" and group.seeds in ([0], [1]) for group in groups.values())
    assert sorted(["G(10,5)", "G(2,5)", "T(2,4)"], key=natural) == ["G(2,5)", "G(10,5)", "T(2,4)"]


@pytest.fixture
def named():
    """Names the kinds of runs that never trained: a topology and the overrides of each."""

    def name(*kinds):
        runs = [tiny_run(*overrides.split()) for overrides in kinds]
        finished = [FinishedRun(str(i), Path(), run.tree(), {}, [], None, {}) for i, run in enumerate(runs)]
        return [(group.topology, group.configuration) for group in group_runs(finished)]

    return name


def test_kinds_are_named_in_words_by_what_they_are_and_not_by_how_long_they_take(named):
    fixed = "stream=false num_train=2000 stop_when=fitted max_steps=90"
    star = "task.path_length=4 task.num_nodes=9 max_steps=70"
    kinds = named("order=reversed", "stop_when=solved stream=true", fixed, f"stream=true {star}")
    assert kinds == [
        ("G(2,3)", "next_token, 2,000 problems"),
        ("G(2,3)", "next_token, stream"),
        ("G(2,3)", "next_token reversed"),
        ("G(2,4)", "next_token, stream"),
    ]


def test_other_settings_are_named_all_and_lengths_where_nothing_else_tells_apart(named):
    small = "num_train=200 model.layers=1 learning_rate=0.02"
    assert [kind for _, kind in named("num_train=2000", small, f"{small} max_steps=7")] == [
        "next_token, 1 layer, 200 problems, learning rate 0.02, 7 steps",
        "next_token, 1 layer, 200 problems, learning rate 0.02, 40 steps",
        "next_token, 2 layers, 2,000 problems, learning rate 0.01, 40 steps",
    ]
    assert [kind for _, kind in named("stop_when=never", "stop_when=fitted")] == [
        "next_token, never stopped",
        "next_token, until fitted",
    ]
    assert [kind for _, kind in named("clip_norm=null", "clip_norm=2.0")] == [
        "next_token",
        "next_token, clip norm 2.0",
    ]


def test_a_figure_shows_every_seed_with_its_interval_on_both_splits(groups, study):
    table = prepare_accuracy(list(groups.values()))
    assert len(table) == 4 * 2
    for name, result in results(study).items():
        order = "next_token reversed" if name.startswith("reversed") else "next_token"
        kind = f"{order}, {40 + 10 * int(name[-1])} steps"
        for split in ("train", "test"):
            (row,) = table[
                (table["configuration"] == kind) & (table["measure"] == f"{split}.free.exact")
            ].to_dict("records")
            exact = result[f"{split}.free.exact"]
            assert [row[key] for key in ("value", "low", "high")] == [
                exact[key] for key in ("value", "low", "high")
            ]
            assert (row["median"], row["chance"]) == (exact["value"], 0.5)
        costs = prepare_compute(list(groups.values()))
        assert costs[costs["configuration"] == kind]["flops"].item() == result["flops"]


@pytest.fixture(scope="module")
def drawn(groups):
    """Every figure by its name, of both kinds as groups of two seeds."""
    pairs = alike(groups)
    return {f"{draw.__name__} {end}".strip(): figure for draw in DRAWN for end, figure in draw(pairs).items()}


def alike(groups):
    """The runs as two groups of two seeds, as if they had been told to take as many steps."""
    found = list(groups.values())
    return [replace(found[i], settings="", runs=[*found[i].runs, *found[i + 1].runs]) for i in range(0, 4, 2)]


def test_no_marker_is_cut(drawn):
    assert {"accuracy", "compute", "success", "solved_by"} < set(drawn)
    for name, figure in drawn.items():
        for axes in figure.axes:
            lines = [line for line in axes.lines if line.get_marker() not in ("None", None, "")]
            dots = [each for each in axes.collections if isinstance(each, PathCollection)]
            assert not any(each.get_clip_on() for each in [*lines, *dots]), name
            for each in dots:
                (left, right), (low, high) = axes.get_xlim(), axes.get_ylim()
                for x, y in each.get_offsets():
                    assert left < x < right, name
                    assert low < y < high, name


def test_the_compute_axis_spans_the_data_and_little_more(drawn, groups):
    flops = prepare_compute(list(groups.values()))["flops"]
    for axes in drawn["compute"].axes:
        left, right = axes.get_xlim()
        assert flops.min() / 2 < left < flops.min() < flops.max() < right < flops.max() * 2


def test_curves_are_those_of_the_metrics(groups, study):
    group = groups["next_token, 40 steps"]
    curves = run_curves(group.runs[0], "forced")
    lines = [json.loads(line) for line in (study / "next_token-0" / "metrics.jsonl").read_text().splitlines()]
    assert list(curves.index) == [line["samples"] for line in lines]
    assert list(curves.columns) == ["exact", "token_0", "token_1", "token_2", "train"]
    count = lines[-1]["validation.forced.token_2"]
    assert curves["token_2"].iloc[-1] == count["correct"] / count["total"]
    count = lines[-1]["train.free.exact"]
    assert run_curves(group.runs[0])["train"].iloc[-1] == count["correct"] / count["total"]


def test_forced_is_not_drawn_where_it_says_nothing(groups):
    group = groups["next_token, 40 steps"]
    run = replace(group.runs[0], result=dict(group.runs[0].result) | {"shows": "nothing"})
    teacherless = replace(group, runs=[run])
    figure = learning_curves([teacherless])[""]
    free, forced = figure.axes
    assert len(free.lines) == 3 + 1 + 1  # tokens, training, chance
    assert not forced.lines
    words = " ".join(forced.texts[0].get_text().split())
    assert words == f"not drawn: {run.forced_note}"


def test_curves_of_a_group_are_medians_and_a_run_that_ended_keeps_its_last_value(groups):
    short, long = (groups[f"next_token, {steps} steps"].runs[0] for steps in (40, 50))
    both = replace(groups["next_token, 40 steps"], runs=[short, long])
    first, second, curves = run_curves(short), run_curves(long), group_curves(both)
    assert len(second) == len(first) + 1
    for measure, curve in curves.items():
        pairs = np.stack([[*first[measure], first[measure].iloc[-1]], second[measure]])
        assert curve[["low", "median", "high"]].to_numpy() == pytest.approx(
            np.quantile(pairs, [0, 0.5, 1], 0).T
        )
        assert list(curve["seeds"]) == [2] * len(second)
    medians = prepare_cascade(both)
    assert list(medians.columns) == ["token_0", "token_1", "token_2"]
    assert list(medians["token_1"]) == list(curves["token_1"]["median"])


def test_the_heat_map_paints_the_time_that_was_trained_and_no_other(groups):
    """What a model was before training is nowhere; the last evaluation ends the picture."""
    (run,) = groups["next_token, 40 steps"].runs
    curves = run_curves(run)
    mesh = cascade([groups["next_token, 40 steps"]])[""].axes[0].collections[0]
    painted = mesh.get_coordinates()[0, :, 0]
    assert (painted[0], painted[-1]) == (0, curves.index[-1] / 1000)
    tokens = curves[["token_0", "token_1", "token_2"]].to_numpy()
    np.testing.assert_allclose(np.asarray(mesh.get_array()).reshape(3, -1).T, tokens[1:])


def test_error_kinds_are_shares_of_the_counts(groups, study):
    table = prepare_errors(list(groups.values()))
    assert table.columns[0] == "correct"
    assert table.sum(axis=1).to_numpy() == pytest.approx(np.ones(4))
    counts = read(study / "reversed-1" / "result.json")["test.free.errors"]
    row = table.loc[("G(2,3), gpt, next_token reversed, 50 steps", 1)]
    assert {kind: round(share * 1600) for kind, share in row.items()} == counts


def test_error_kinds_are_the_median_seeds_and_every_seed_is_marked(groups, drawn):
    seeds = pd.DataFrame({"correct": [0.9, 0.5, 0.1, 0.45, 0.4], "wrong_arm": [0.1, 0.5, 0.9, 0.55, 0.6]})
    assert list(median_seed(seeds)) == [0.45, 0.55]  # the mean over seeds is 0.47
    assert list(median_seed(seeds[:4])) == [0.45, 0.55]  # the lower of 0.45 and 0.5
    (axes,) = drawn["error_kinds"].axes
    for line, group in zip(axes.lines, alike(groups), strict=True):
        assert list(line.get_xdata()) == pytest.approx(group.values("test.free.exact"))
    assert [text.get_text() for text in axes.texts] == ["2 seeds"] * 2


def test_seeds_solved_have_their_intervals_and_unsolved_ones_are_censored(groups):
    table = prepare_success(list(groups.values()))
    assert list(table["value"]) == [0.0] * 4
    assert table["high"].iloc[0] == pytest.approx(0.793, abs=1e-3)  # Wilson, 0 of 1
    curve = prepare_solved_by(groups["next_token, 40 steps"])
    assert list(curve["samples"]) == [0, 40 * 32]
    assert list(curve["share"]) == [0, 0]
    assert list(curve["high"]) == pytest.approx([table["high"].iloc[0]] * 2)


def test_kinds_have_one_mark_each_and_a_page_has_what_can_be_compared(groups):
    given = marks(list(groups.values()))
    assert list(given) == [
        *(f"next_token, {steps} steps" for steps in (40, 50)),
        *(f"next_token reversed, {steps} steps" for steps in (40, 50)),
    ]
    assert len({(mark.color, mark.marker) for mark in given.values()}) == 4
    assert [(name, len(page)) for name, page in pages(list(groups.values()))] == [("", 4)]
    assert [(name, len(page)) for name, page in pages(list(groups.values()), 3)] == [
        ("g-2-3-gpt-next-token-40-steps-to-next-token-50-steps", 2),
        ("g-2-3-gpt-next-token-reversed-40-steps-to-next-token-reversed-50-steps", 2),
    ]


@pytest.mark.parametrize("count", [1, 4, 5, 6])
def test_all_kinds_stand_on_one_page_under_one_axis(groups, count):
    group = groups["next_token, 40 steps"]
    many = [replace(group, settings=f"{i} problems") for i in range(count)]
    curves, maps = learning_curves(many)[""], cascade(many)[""]
    assert len(curves.axes) == 2 * count
    assert len(maps.axes) == count + 1  # and the scale
    labelled = [axes for axes in curves.axes if axes.get_xlabel()]
    assert len(labelled) == (count if count < 5 else 3)
    assert all(axes.get_xlim() == curves.axes[0].get_xlim() for axes in curves.axes)
