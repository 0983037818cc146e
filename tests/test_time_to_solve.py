"""Time to solve: the tracks' runs are valid, rules refuse, and the leaderboard is right on made-up runs."""

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.time_to_solve import __main__ as script
from benchmarks.time_to_solve.leaderboard import HEADER, leaderboard, with_table
from benchmarks.time_to_solve.rows import read_rows, row_of, settings, table_of
from benchmarks.time_to_solve.tracks import SEEDS, TRACKS
from tests.runs import unchecked
from unforced.errors import UserError
from unforced.evaluation.statistics import proportion
from unforced.recipes import resolve_study
from unforced.runs.index import read_finished
from unforced.training.loop import Trainer, start_accelerator
from unforced.training.store import MemoryStore

SMALL = TRACKS["g2x4_two_cores"]
TINY = ["model.layers=1", "model.width=16", "model.heads=2", "batch_size=4"]


@pytest.mark.parametrize("name", TRACKS)
def test_a_track_is_a_study_of_its_entries_over_the_seeds(name):
    study = resolve_study(f"{script.HERE / 'tracks.py'}:{name}", [])
    entries = TRACKS[name].entries
    assert study.name == name
    assert [*study.runs] == [f"{entry.name}-{seed}" for seed in SEEDS for entry in entries]
    assert {run.objective.name for run in study.runs.values()} >= {"next_token", "insertion", "belief_state"}
    for run in study.runs.values():
        assert (run.stop_when, run.num_evaluate) == ("solved", 1000)
        assert TRACKS[name].base.override(settings(TRACKS[name], run)).replace(seed=run.seed) == run


@pytest.mark.parametrize("name", TRACKS)
def test_every_entry_trains_at_a_tiny_size(name):
    track = TRACKS[name]
    for entry in track.entries:
        few = {} if track.base.stream else {"num_train": 64}
        run = track.base.override([*entry.settings, *TINY]).replace(**few)
        with unchecked():
            trainer = Trainer(run, MemoryStore(), start_accelerator(run))
            report = trainer.take_step(*trainer.inputs())
        assert bool(report.ok), entry.name


@pytest.mark.parametrize(
    ("override", "refusal"),
    [
        ("task.num_nodes=8", "task.num_nodes=8 is not free, it is 9"),
        ("goals_per_graph=2", "goals_per_graph=2 is not free, it is 1"),
        ("num_evaluate=100", "num_evaluate=100 is not free, it is 1000"),
        ("seed=5", "the seeds are 0 to 4"),
        ("objective.train_positions=[1]", "objective.train_positions uses what is known of the task"),
        ("evaluate_every=25", "is evaluated every 3,200 problems, .* use evaluate_every=50"),
        ("max_steps=2501", "more than 160,000 problems; use max_steps=2500"),
        ("model=pretrained", "begins with trained weights; use model=gpt"),
    ],
)
def test_a_run_that_breaks_a_rule_is_refused(override, refusal):
    SMALL.check(SMALL.base)
    with pytest.raises(UserError, match=refusal):
        SMALL.check(SMALL.base.override([override]))


def made_up(
    folder, entry, seed, rights, *overrides, seconds=1.0, ended_by="steps", threads=1, parameters=10**5
):
    """A finished run with so many of 100 right at its evaluations, and so many seconds between these."""
    run = SMALL.base.override(overrides).replace(seed=seed)
    path = folder / f"{entry}-{seed}"
    path.mkdir(parents=True)
    splits = [f"{split}.{mode}.exact" for split in ("train", "validation") for mode in ("forced", "free")]
    lines = [
        {
            "step": i * run.evaluate_every,
            "samples": i * run.evaluate_every * run.batch_size,
            "loss": 1.0,
            "samples_per_second": 1.0,
            "training_seconds": i * seconds,
            **{key: {"correct": right, "total": 100} for key in splits},
        }
        for i, right in enumerate(rights)
    ]
    cpu = {"device": "cpu", "processor": "P", "threads": threads, "processes": 1}
    held_out = {key: proportion(rights[-1], 100) for key in [*splits, "test.forced.exact", "test.free.exact"]}
    result = {
        "steps": lines[-1]["step"],
        "samples": lines[-1]["samples"],
        "chance": 0.5,
        "ended_by": ended_by,
    }
    result |= {"flops_per_sample": 1e6, "parameters": parameters, "hardware": cpu, "implementation": {}}
    (path / "config.json").write_text(json.dumps(run.tree()))
    (path / "env.json").write_text(json.dumps({"packages": {"torch": "2.0.1+cpu"}, "implementation": {}}))
    (path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (path / "result.json").write_text(json.dumps(result | held_out))
    return path


@pytest.fixture
def folder(tmp_path):
    """slow: four seeds solved, one not; quick: two solved, two not, one diverged; partial: two seeds."""
    path, half = tmp_path / "runs", ("batch_size=32", "evaluate_every=100", "max_steps=5000")
    for seed in SEEDS:
        rights = [0, 99, 99] if seed else [0, 99, 50, 98]
        made_up(path, "slow", seed, rights, "order=reversed", seconds=10.0 + seed)
    for seed, rights in enumerate([[0, 99, 100], [0, 50, 99, 99], [0, 98, 98], [0, 99, 98]]):
        made_up(path, "quick", seed, rights, *half)
    made_up(path, "quick", 4, [0, 99, 99], *half, ended_by="diverged")
    for seed in (0, 1):
        made_up(path, "partial", seed, [0, 99, 99], "objective=masked")
    return path


@pytest.fixture
def here(tmp_path):
    """A copy of the page, with no results beside it."""
    return Path(shutil.copy(script.HERE / "README.md", tmp_path)).parent


def cells(table):
    """The rows of a Markdown table by their first cell."""
    rows = [line for line in table.splitlines() if line.startswith("|")]
    lines = [[cell.strip() for cell in row.split("|")[1:-1]] for row in rows]
    return {line[0]: dict(zip(HEADER, line, strict=True)) for line in lines[2:]}


def test_the_table_ranks_by_the_median_of_seconds_with_unsolved_seeds_as_endless(folder, capsys):
    script.main([str(folder)])
    found = cells(capsys.readouterr().out)
    assert [*found][:4] == ["slow", "quick", "partial", "next_token"]
    slow, quick, partial = (found[name] for name in ("slow", "quick", "partial"))
    assert slow | {"date": ""} == {
        "entry": "slow",
        "solved": "4 of 5",
        "seconds": "13.0 (11.0–∞)",
        "samples": "3,200 (3,200–∞)",
        "FLOPs": "3.2 G (3.2 G–∞)",
        "held-out, %": "99.0 (98.0–99.0)",
        "settings": "`order=reversed`",
        "from": "",
        "hardware": "P, one thread a run, PyTorch 2.0.1",
        "date": "",
    }
    assert (quick["solved"], quick["seconds"]) == ("2 of 5, 1 diverged", "∞ (1.0–∞)")
    assert quick["settings"] == "`batch_size=32 max_steps=5000 evaluate_every=100`"
    assert (partial["solved"], partial["seconds"], partial["samples"]) == ("2 of 2", "1.0", "3,200")
    assert found["joint"]["solved"] == "not measured"
    assert found["joint"]["from"]


def test_entries_are_written_into_results_and_page_and_replace_their_former_ones(folder, here, capsys):
    script.main([str(folder), "--write"], here)
    rows = read_rows(here / "results" / "g2x4_two_cores.csv")
    assert table_of(rows) == (here / "results" / "g2x4_two_cores.csv").read_text()
    assert len(rows) == 12
    assert [row.curve for row in rows if row.entry == "partial"] == ["0 99 99"] * 2
    assert cells(leaderboard(SMALL, rows))["slow"]["seconds"] == "13.0 (11.0–∞)"
    assert leaderboard(SMALL, rows) in (here / "README.md").read_text()
    for seed in SEEDS:
        shutil.rmtree(folder / f"slow-{seed}")
        made_up(folder, "slow", seed, [0, 99, 99], seconds=5.0)
    shutil.rmtree(folder / "partial-0")
    script.main([str(folder), "--write"], here)
    rows = read_rows(here / "results" / "g2x4_two_cores.csv")
    assert [row.entry for row in rows].count("slow") == 5
    assert [row.seed for row in rows if row.entry == "partial"] == [1]
    capsys.readouterr()
    script.main([], here)
    assert "| slow | 5 of 5 | 5.0 |" in capsys.readouterr().out


def test_the_page_shows_what_is_in_the_results():
    page = (script.HERE / "README.md").read_text()
    for track in TRACKS.values():
        rows = read_rows(script.HERE / "results" / f"{track.name}.csv")
        assert with_table(page, track, leaderboard(track, rows)) == page


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"threads": 2}, "trained by 2 threads; use --workers 2"),
        ({"parameters": 1_000_001}, "1,000,001 parameters; at most 1,000,000"),
        ({"seed": 7}, "the seeds are 0 to 4"),
    ],
)
def test_a_finished_run_that_breaks_a_rule_is_refused(tmp_path, changes, refusal):
    path = made_up(tmp_path, "one", changes.pop("seed", 0), [0, 99, 99], **changes)
    with pytest.raises(UserError, match=f"^{path}: .*{refusal}"):
        row_of(read_finished(path), SMALL)


def test_mistakes_are_said_in_a_line(folder, tmp_path):
    with pytest.raises(UserError, match="2 folders; give one"):
        script.main([str(folder), str(tmp_path)])
    with pytest.raises(UserError, match="no such folder"):
        script.main([str(tmp_path / "none")])
    shutil.rmtree(folder / "slow-0")
    made_up(folder, "slow", 0, [0, 99, 99], "learning_rate=0.01")
    with pytest.raises(UserError, match="slow: its seeds have different settings"):
        script.main([str(folder)])
    with pytest.raises(UserError, match="the page has no place for g2x4_two_cores"):
        with_table("# A page", SMALL, "")
