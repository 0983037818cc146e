"""What seeds spend until they are solved, and success at equal amounts: by hand, on made-up runs."""

from pathlib import Path

import pytest

from unforced.evaluation.spending import AXES, common_amount, spendings, spent, success_at
from unforced.evaluation.statistics import proportion
from unforced.reporting.report_figures.solved import prepare_solved_by, solved_by
from unforced.reporting.report_tables.compute import equal_compute
from unforced.runs.finished import FinishedRun
from unforced.runs.groups import Group, group_runs
from unforced.runs.history import training_seconds


def run_of(seed, rights, objective="next_token", batch_size=10, flops=2e9, ended_by="steps", seconds=1.0):
    """A run evaluated every 100 steps, each of which took so many seconds, with so many of 100 right."""
    right = [{"correct": count, "total": 100} for count in rights]
    lines = [
        {
            "step": 100 * i,
            "samples": 100 * i * batch_size,
            "training_seconds": 100 * i * seconds,
            "validation.free.exact": count,
        }
        for i, count in enumerate(right)
    ]
    steps = lines[-1]["step"]
    tree = {"task": {"name": "t"}, "model": {"name": "gpt"}, "objective": {"name": objective}}
    tree |= {"order": "forward", "seed": seed, "batch_size": batch_size}
    result = {"steps": steps, "samples": steps * batch_size, "ended_by": ended_by, "chance": 0.5}
    result |= {"test.free.exact": proportion(rights[-1], 100)}
    if flops:
        result |= {"flops": flops * steps * batch_size, "flops_per_sample": flops, "flops_per_answer": 5e8}
    return FinishedRun(f"{objective}-{seed}", Path(f"{objective}-{seed}"), tree, result, lines, None, {})


@pytest.fixture
def groups():
    """2 GFLOP a sample: solved at 200, ended at 300; not by 400; diverged. 4: solved at 100; not by 300."""
    first = [run_of(0, [0, 50, 99, 100]), run_of(1, [0, 99, 50, 50, 50])]
    first.append(run_of(2, [0, 50], ended_by="diverged"))
    other = {"objective": "costly", "flops": 4e9, "seconds": 3.0}
    second = [run_of(0, [0, 99, 99], **other), run_of(1, [0, 0, 50, 50], **other)]
    costly, plain = group_runs([*first, *second])
    return plain, costly


def test_the_amounts_are_those_of_the_lines(groups):
    run = groups[1].runs[0]
    assert [spent(run, axis, 150) for axis in AXES] == [150, 1500, 6e12, 450.0]
    assert spent(run_of(0, [0, 99], flops=None), "flops", 100) is None
    of_a_former_version = run_of(0, [0, 99])
    del of_a_former_version.result["flops_per_sample"]
    assert spent(of_a_former_version, "flops", 100) == 2e12


def test_lines_without_seconds_of_training_tell_them_by_their_speed():
    lines = [{"samples": 0, "samples_per_second": None}, {"samples": 500, "samples_per_second": 100.0}]
    lines.append({"samples": 900, "samples_per_second": 50.0})
    assert training_seconds(lines) == [0.0, 5.0, 13.0]
    assert training_seconds([*lines, {"samples": 1000, "samples_per_second": None}]) is None
    assert training_seconds([]) is None


def test_a_seed_is_solved_at_the_first_of_two_evaluations_in_a_row(groups):
    inf = float("inf")
    assert [(seed.amount, seed.solved) for seed in spendings(groups[0], "steps")] == [
        (200, True),
        (400, False),
        (inf, False),
    ]
    assert [(seed.amount, seed.solved) for seed in spendings(groups[1], "flops")] == [
        (4e12, True),
        (12e12, False),
    ]


def test_success_at_equal_amounts_counts_the_solved_ones_after_their_end_and_the_failed_ones_never(groups):
    plain, costly = groups
    assert {axis: common_amount(groups, axis) for axis in AXES} == {
        "steps": 300,
        "samples": 3000,
        "flops": 8e12,
        "seconds": 400.0,
    }
    assert success_at(plain, "steps", 300) == proportion(1, 3)
    assert success_at(plain, "steps", 199) == proportion(0, 3)
    assert success_at(costly, "flops", 8e12) == proportion(1, 2)
    assert success_at(costly, "flops", 3.9e12) == proportion(0, 2)


def test_where_all_are_solved_the_last_to_be_decides(groups):
    plain = Group("t", "gpt", "next_token", "", groups[0].runs[:1])
    costly = Group("t", "gpt", "costly", "", groups[1].runs[:1])
    assert common_amount([plain, costly], "steps") == 200
    assert common_amount([plain, costly], "flops") == 4e12
    assert common_amount([Group("t", "gpt", "x", "", groups[0].runs[2:])], "steps") is None


def test_the_table_compares_at_equal_steps_and_at_equal_flops(groups):
    frame = equal_compute(groups, []).frame.set_index("configuration")
    assert dict(frame.loc["costly"]) == {
        "FLOPs a sample": "4 G",
        "relative": "2.00",
        "FLOPs an answer": "500 M",
        "equal steps": "300",
        "solved at equal steps": "50.0% [9.5, 90.5]",
        "equal FLOPs": "8 T",
        "solved at equal FLOPs": "50.0% [9.5, 90.5]",
        "seeds": "2",
    } | {"failed": ""}
    assert frame.loc["next_token", "failed"] == "1 diverged"
    unknown = Group("t", "gpt", "next_token", "", [run_of(0, [0, 99, 99], flops=None)])
    row = equal_compute([unknown, groups[1]], []).frame.iloc[0]
    assert (row["FLOPs a sample"], row["equal FLOPs"], row["solved at equal steps"][:6]) == (
        "–",
        "–",
        "100.0%",
    )


def test_the_curves_span_what_was_spent_and_leave_out_what_is_unknown(groups):
    curve = prepare_solved_by(groups[0], "flops")
    assert list(curve["flops"]) == [0, 4e12, 8e12]
    assert list(curve["share"]) == pytest.approx([0, 1 / 3, 1 / 3])
    unknown = Group("t", "gpt", "next_token", "", [run_of(0, [0, 99, 99], flops=None)])
    assert prepare_solved_by(unknown, "flops") is None
    axes = solved_by([unknown, groups[1]])[""].axes
    assert [panel.get_xlabel().split()[0] for panel in axes] == ["steps", "samples", "training", "training"]
    assert [len(panel.lines) for panel in axes] == [4, 4, 2, 4]  # a curve and its marker each
    assert [text.get_text() for panel in solved_by([unknown])[""].axes for text in panel.texts] == [
        "not recorded"
    ]
