"""Compiled steps take the steps of eager ones, and where compiling fails, a line says so."""

from tests.runs import tiny_run
from tests.test_stacked import assert_close, members, parts_of, state, train_stacked
from unforced.training.compiled import Compiler
from unforced.training.processes import join_processes
from unforced.training.step import EagerStep

STEPS = 3
SMALL = tiny_run("model.layers=1")


def steps_of(member, compiler):
    """Take some steps of a run; return how they are taken."""
    take = EagerStep(member.run, member.module, member.optimizer, join_processes(), compiler=compiler)
    for step in range(STEPS):
        take(parts_of(member.run, step), 0.01)
    return take.kind


def test_a_compiled_step_is_an_eager_one_of_a_run_and_of_several_at_once():
    news = []
    eager, compiled = (members(SMALL)[0] for _ in range(2))
    assert steps_of(eager, None) == "eager"
    assert steps_of(compiled, Compiler(news.append, backend="aot_eager")) == "eager, compiled"
    assert_close(state(eager), state(compiled))
    assert [line.split(" in ")[0] for line in news] == ["compiled the step"]
    alone, together = members(SMALL), members(SMALL)
    train_stacked(alone)
    train_stacked(together, compiler=Compiler(news.append, backend="aot_eager"))
    for one, other in zip(alone, together, strict=True):
        assert_close(state(one), state(other))
    assert len(news) == 2


def test_where_compiling_fails_steps_are_eager_and_a_line_says_so_once():
    news = []
    eager, failing = (members(SMALL)[0] for _ in range(2))
    steps_of(eager, None)
    assert steps_of(failing, Compiler(news.append, backend="nonesuch")) == "eager"
    assert_close(state(eager), state(failing))
    (line,) = news
    assert line.startswith("the step cannot be compiled, and is computed as it is (")
