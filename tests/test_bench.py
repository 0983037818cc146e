"""`unforced bench`: what it measures is fair, and says what it is."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch

from tests.runs import tiny_run, unchecked
from unforced.bench import SECTIONS, contenders, memory, others, plan, start
from unforced.bench.contenders import answer_loss, next_view
from unforced.bench.plan import Plan, trainer_of
from unforced.bench.timing import in_turn, ratios, spread
from unforced.errors import UserError
from unforced.models.mamba import Mamba
from unforced.reporting.bench_figure import points_of
from unforced.training.checkpoint import mean_losses

CPU = torch.device("cpu")
GPT_RUN = tiny_run("model.positions=learned", "model.tie_embeddings=true", "precision=auto")
MAMBA_RUN = GPT_RUN.replace(model=Mamba(layers=2, width=16))
RUNS = [GPT_RUN, MAMBA_RUN]
CASES = [(run, name) for run in RUNS for name in contenders.contenders(run)]
TINY = Plan(
    CPU,
    training=(GPT_RUN,),
    others=(MAMBA_RUN,),
    evaluation=(GPT_RUN,),
    stacked=GPT_RUN,
    stacks=(1, 2),
    tasks=(GPT_RUN.task,),
    rounds=2,
    seconds=0.0,
    starts=1,
    matrix_sizes=(16, 32),
    copied_bytes=1 << 16,
)


@pytest.mark.parametrize(("run", "name"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_contender_trains_on_the_same_problems_and_computes_the_same_loss_where_it_has_our_weights(
    run, name, tmp_path
):
    trainer = trainer_of(run.replace(precision="fp32"))
    contender = contenders.contenders(run)[name]
    network = contender.network(trainer)
    view = next_view(trainer, 0)
    with torch.no_grad():
        before = answer_loss(network, view).item()
    take = contender.loop(trainer, network, str(tmp_path))
    trainer.step()
    ours = mean_losses(trainer.progress.losses)["loss"]
    assert before == pytest.approx(ours, abs=1e-5 if contender.library == "transformers" else 0.3)
    losses = [before]
    for steps in (3, 12):  # each call goes on with the weights of the last
        assert take(steps) > 0
        with torch.no_grad():
            losses.append(answer_loss(network, view).item())
    assert losses[0] > losses[1] > losses[2]
    assert losses[2] < losses[0] - 0.1


@pytest.mark.parametrize(("run", "name"), CASES, ids=lambda value: value if isinstance(value, str) else "")
def test_every_call_of_a_contender_computes_in_the_dtype_of_the_run(run, name, tmp_path):
    trainer = trainer_of(run.replace(precision="bf16-mixed"))
    contender = contenders.contenders(run)[name]
    network, found = contender.network(trainer), set()
    table = next(module for module in network.modules() if isinstance(module, torch.nn.Embedding))
    table.register_forward_hook(
        lambda *_: found.add(torch.is_autocast_enabled("cpu") and torch.get_autocast_dtype("cpu"))
    )
    take = contender.loop(trainer, network, str(tmp_path))
    for _ in range(2):
        take(1)
        assert found == {torch.bfloat16}
        found.clear()


def test_other_networks_have_the_size_of_ours():
    trainer = trainer_of(GPT_RUN)
    ours = sum(parameter.numel() for parameter in trainer.train_module.parameters())
    for name, contender in contenders.contenders(GPT_RUN).items():
        theirs = sum(parameter.numel() for parameter in contender.network(trainer).parameters())
        assert theirs == pytest.approx(ours, rel=0.05), name


def test_the_trainer_of_transformers_has_the_settings_and_the_problems_of_ours(tmp_path):
    trainer = trainer_of(GPT_RUN)
    arguments = contenders.training_arguments(trainer, str(tmp_path), 7)
    assert (arguments.max_steps, arguments.max_grad_norm) == (7, trainer.run.clip_norm)
    assert arguments.per_device_train_batch_size == trainer.run.batch_size
    rows = contenders.labelled(trainer)
    counted = rows[0]["labels"] != -100
    assert counted.tolist() == [False] * trainer.run.task.prompt_length + [True] * 3
    assert torch.equal(rows[0]["input_ids"][counted], trainer.source.examples.answer[0])


def test_contenders_take_turns_and_the_order_is_turned_around():
    taken = []

    def taker(name, seconds):
        def take(steps):
            taken.append((name, steps))
            return seconds * steps

        return take

    found = in_turn({"a": taker("a", 0.5), "b": taker("b", 2.0)}, rounds=3, seconds=1.0, device=CPU)
    assert found == {"a": [0.5] * 3, "b": [2.0] * 3}
    assert taken[4:] == [("a", 2), ("b", 1), ("b", 1), ("a", 2), ("a", 2), ("b", 1)]
    assert spread([3.0, 1.0, 2.0]) == {"min": 1.0, "median": 2.0, "max": 3.0}
    assert ratios([3.0, 2.0, 8.0], [1.0, 2.0, 2.0]) == {"min": 1.0, "median": 3.0, "max": 4.0}


def test_plans_measure_what_they_promise():
    full, quick = plan.full_plan(CPU), plan.quick_plan(CPU)
    sizes = [[getattr(run.model, key) for key in ("name", "layers", "width")] for run in full.training]
    for size in (["gpt", 4, 64], ["gpt", 6, 384], ["gpt", 12, 384], ["mamba", 4, 64]):
        assert sizes.count(size) == 2  # G(2,5) and G(10,5)
    assert {run.task.degree for run in full.training} == {2, 10}
    assert {run.model.name for run in (*full.others, *quick.others)} == {"gpt", "mamba"}
    assert {run.model.name for run in quick.others} == {"gpt", "mamba"}
    assert plan.full_plan(torch.device("cuda")).stacks == (1, 4, 16, 64)


def test_memory_is_that_of_a_process_of_its_own():
    held = memory.memory_of(tiny_run())
    assert 50 * 2**20 < held < 2**33


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Output and errors of the command on the smallest plan, as JSON and as tables."""
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(plan, "quick_plan", lambda device: TINY)
    monkeypatch.setattr("unforced.bench.training.memory_of", lambda run: None)
    commands = start.commands
    monkeypatch.setattr(start, "commands", lambda folder: dict([[*commands(folder).items()][1]]))
    yield
    monkeypatch.undo()


def test_the_command_prints_json_with_environment_and_all_sections(measured, call, tmp_path):
    code, output, errors = call("bench", "--quick", "--json", "--figure", tmp_path / "speed.svg")
    assert (code, errors) == (0, "")
    results = json.loads(output)
    assert list(results) == ["environment", "peaks", *SECTIONS]
    assert {"torch", "transformers"} <= results["environment"]["packages"].keys()
    assert {"threads", "processor", "dtype", "load", "rounds"} <= results["environment"].keys()
    for row in (*results["training"], *results["others"]):
        low, middle, high = (row["samples_per_second"][key] for key in ("min", "median", "max"))
        assert 0 < low <= middle <= high
    (training,) = results["training"]
    assert training["share_of_peak"]["median"] > 0
    assert [row["runs"] for row in results["stacked"]] == [1, 2]
    assert results["others"][0]["ratio"].keys() == {"min", "median", "max"}
    assert {row["split"] for row in results["data"]} == {"train", "validation", "test"}
    (started,) = results["start"]
    assert (started["command"], started["cpu_seconds"]["min"] >= 0) == ("import unforced", True)
    assert {point[0] for point in points_of(results)} == {"unforced", "transformers Mamba, plain loop"}
    assert "peak of matrix products" in (tmp_path / "speed.svg").read_text()


def test_the_command_prints_tables_and_says_what_it_measures(measured, call):
    code, output, errors = call("bench", "--quick", "--only", "evaluation", "--only", "data")
    assert code == 0
    assert "GFLOP/s" in output
    assert "forced answers/s" in output
    assert "samples/s" not in output
    assert "measuring evaluation: gpt 2x16" in errors


def test_a_library_that_is_missing_is_a_row_that_says_how_to_get_it(monkeypatch, capsys):
    installed = contenders.find_spec
    monkeypatch.setattr(
        contenders, "find_spec", lambda name: None if name == "x_transformers" else installed(name)
    )
    with unchecked():
        rows = others.measure_others(replace(TINY, others=(GPT_RUN,), rounds=1), lambda _: None)
    missing = {row["name"] for row in rows if "missing" in row}
    assert missing == {name for _, name in CASES if name.startswith("x-transformers")}
    from unforced.reporting.bench import _others

    _others(rows)
    assert "not installed: pip install 'unforced[bench]'" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--only", "trainnig"], "unknown section 'trainnig'; did you mean 'training'?"),
        (["--figure", "a.gif"], "--figure: a.gif is not named as .svg, .png or .pdf"),
        (["--figure", "no/where.svg"], "--figure: there is no folder"),
        (["--figure", "a.svg", "--only", "data"], "--figure: it draws the sections training and others"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_measured(call, arguments, message):
    code, output, errors = call("bench", *arguments)
    assert (code, output, errors.count("\n")) == (2, "", 1)
    assert message in errors


def test_every_section_is_measured_and_shown():
    from unforced.bench.measure import _MEASURES
    from unforced.reporting.bench import _TABLES

    assert tuple(_MEASURES) == tuple(_TABLES) == SECTIONS
    assert all(a != b for a, b in pairwise(SECTIONS))


def test_a_process_that_fails_is_one_line(tmp_path):
    with pytest.raises(UserError, match=r"-c import nowhere: ModuleNotFoundError"):
        start._started(["-c", "import nowhere"], tmp_path)
