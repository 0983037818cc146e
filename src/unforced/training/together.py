"""Trains several runs in lockstep: each step of all of them is one step of a stack."""

import time
from collections.abc import Callable, Generator, Iterator, Sequence

from unforced.training.captured import CapturedStep
from unforced.training.loop import Outcome, StepInputs, Trainer, session
from unforced.training.signals import StopRequest
from unforced.training.stacked import Member, StackedStep
from unforced.training.step import StepReport

End = Outcome | Exception
"""How a run ended, or why it failed."""


class _Row:
    """A run's place in a stack: what its trainer asks of the steps, which it does not take itself.

    lost, idle: as those of EagerStep; views of the stack's.
    """

    waits = False

    def __init__(self, step: StackedStep | CapturedStep, index: int) -> None:
        self._step: StackedStep | CapturedStep | str = step
        self.lost, self.idle = step.lost[index], step.idle[index]

    @property
    def kind(self) -> str:
        """How the steps are taken, or were."""
        return self._step if isinstance(self._step, str) else f"{self._step.kind}, stacked"

    def leave(self) -> None:
        """Hold on to the stack no longer, whose memory others need."""
        self._step = self.kind
        self.lost, self.idle = self.lost.clone(), self.idle.clone()


class _Lane:
    """A run in training: the inputs of its next step, or its end."""

    def __init__(self, trainer: Trainer, request: StopRequest) -> None:
        self.trainer = trainer
        self.member = Member(trainer.run, trainer.train_module, trainer.optimizer)
        self.inputs: StepInputs = [], 0.0
        self.end: End | None = None
        self._steps: Generator[StepInputs, StepReport, Outcome] = trainer.steps(request)

    def advance(self, report: StepReport | None, others: "Sequence[_Lane]") -> None:
        """Go on to the next step; evaluate and save before, where that is due.

        report: of the step that was taken; None for the first. others: are told what time that took.
        """
        before = self.trainer.timer.seconds_apart
        try:
            self.inputs = next(self._steps) if report is None else self._steps.send(report)
        except StopIteration as end:
            self.end = end.value
        except Exception as error:  # whatever it is, it is this run's alone
            self.end = error
        _exclude(self.trainer.timer.seconds_apart - before, [each for each in others if each is not self])


def fit_together(trainers: Sequence[Trainer], say: Callable[[str], None]) -> Iterator[tuple[Trainer, End]]:
    """Train runs at once, as `fit` does each; yield each as soon as it has ended.

    `unforced.config.stacking` says which runs that can be. A run that fails is yielded with its error, and
    the others go on. Seconds in which one run is evaluated or saved, or in which the caller deals with one,
    are not counted as training of the others. say: takes news of them all.
    """
    said: set[str] = set()

    def say_once(line: str) -> None:
        if line not in said:
            said.add(line)
            say(line)

    with session() as request:
        lanes = [_Lane(trainer, request) for trainer in trainers]
        for trainer in trainers:
            trainer.runs_at_once = len(trainers)
        for lane in lanes:
            lane.advance(None, lanes)
        ended, lanes = _parted(lanes)
        yield from _handed_over(ended, lanes)
        stack = StackedStep([lane.member for lane in lanes], trainers[0].device) if lanes else None
        while stack is not None:
            _train_until_one_ends(stack, lanes, say_once)
            stack = stack.keep([row for row, lane in enumerate(lanes) if lane.end is None])
            ended, lanes = _parted(lanes)
            yield from _handed_over(ended, lanes)


def stepper(trainers: Sequence[Trainer], say: Callable[[str], None]) -> Callable[[], list[StepReport]]:
    """Return what takes a step of all trainers at once, and returns the report of each. Nothing is saved."""
    members = [Member(each.run, each.train_module, each.optimizer) for each in trainers]
    take = _quickest(StackedStep(members, trainers[0].device), say)

    def step() -> list[StepReport]:
        inputs = [each.inputs() for each in trainers]
        views = [view for of_run, _ in inputs for view in of_run]
        reports = take(views, [rate for _, rate in inputs]).of_runs()
        for each, report in zip(trainers, reports, strict=True):
            each.took(report)
        return reports

    return step


def _quickest(stack: StackedStep, say: Callable[[str], None]) -> StackedStep | CapturedStep:
    """Return what takes a stack's steps soonest on its device."""
    return CapturedStep(stack, say) if stack.device.type == "cuda" else stack


def _train_until_one_ends(stack: StackedStep, lanes: Sequence[_Lane], say: Callable[[str], None]) -> None:
    """Take steps of all runs until at least one of them has ended."""
    step = _quickest(stack, say)
    rows = [_Row(step, index) for index in range(len(lanes))]
    for lane, row in zip(lanes, rows, strict=True):
        lane.trainer.step_state = row
    while all(lane.end is None for lane in lanes):
        views = [view for lane in lanes for view in lane.inputs[0]]
        reports = step(views, [lane.inputs[1] for lane in lanes]).of_runs()
        for lane, report in zip(lanes, reports, strict=True):
            lane.advance(report, lanes)
    for row in rows:
        row.leave()


def _parted(lanes: Sequence[_Lane]) -> tuple[list[_Lane], list[_Lane]]:
    """Return the runs that have ended, and the others."""
    return [each for each in lanes if each.end is not None], [each for each in lanes if each.end is None]


def _handed_over(ended: list[_Lane], others: Sequence[_Lane]) -> Iterator[tuple[Trainer, End]]:
    """Yield runs that have ended, and let go of them."""
    while ended:
        lane = ended.pop(0)
        assert lane.end is not None
        began = time.perf_counter()
        yield lane.trainer, lane.end
        _exclude(time.perf_counter() - began, others)


def _exclude(seconds: float, lanes: Sequence[_Lane]) -> None:
    """Do not count seconds as training of these runs."""
    if seconds:
        for lane in lanes:
            lane.trainer.timer.exclude(seconds)
