"""Trains several runs in lockstep: each step of all of them is one step of a stack."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

import torch

from unforced.config import Run
from unforced.models.failures import first_words
from unforced.tasks.sampling import Split
from unforced.training.captured import CapturedStep
from unforced.training.compiled import Compiler
from unforced.training.loop import SPLITS, Metrics, Outcome, Trainer, session
from unforced.training.signals import StopRequest
from unforced.training.stacked import Member, StackedStep
from unforced.training.stacked_inputs import StackedInputs
from unforced.training.step import StepReport
from unforced.training.train_module import TrainModule

End = Outcome | Exception
"""How a run ended, or why it failed."""
EvaluateTogether = Callable[[Sequence[Run], Sequence[TrainModule], Split, Sequence[int]], Sequence[Metrics]]
"""Measures each run's train_module on so many problems of a split."""


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
    """A run in training, or its end."""

    def __init__(self, trainer: Trainer, request: StopRequest) -> None:
        self.trainer = trainer
        self.member = Member(trainer.run, trainer.train_module, trainer.optimizer)
        self.end: End | None = None
        self._steps: Generator[None, StepReport, Outcome] = trainer.steps(request)

    @property
    def is_evaluated_next(self) -> bool:
        """Whether it will be evaluated when it hears of the step that was taken."""
        return self.trainer.is_evaluated_at(self.trainer.progress.step + 1)

    def cannot_go_on(self) -> bool:
        """Whether the run's next batch cannot be made; that ends it."""
        try:
            self.trainer.inputs()
        except Exception as error:  # whatever it is, it is this run's alone
            self.end = error
        return self.end is not None

    def advance(self, report: StepReport | None, others: "Sequence[_Lane]") -> None:
        """Go on to the next step; evaluate and save before, where that is due.

        report: of the step that was taken; None for the first. others: are told what time that took.
        """
        before = self.trainer.timer.seconds_apart
        try:
            if report is None:
                next(self._steps)
            else:
                self._steps.send(report)
        except StopIteration as end:
            self.end = end.value
        except Exception as error:  # whatever it is, it is this run's alone
            self.end = error
        self.trainer.measured = {}
        _exclude(self.trainer.timer.seconds_apart - before, [each for each in others if each is not self])


class News:
    """Says what concerns all runs of a stack, each line once."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self._say = say
        self._said: set[str] = set()

    def __call__(self, line: str) -> None:
        """Say a line, if that was not done."""
        if line not in self._said:
            self._said.add(line)
            self._say(line)


class Evaluations:
    """Measures runs of a stack together, until that fails once. evaluate: does it for one split."""

    def __init__(self, evaluate: EvaluateTogether, news: News) -> None:
        self._evaluate, self._news = evaluate, news
        self._gave_up = False

    def __call__(
        self, trainers: Sequence[Trainer], counts: Mapping[Split, Sequence[int]]
    ) -> list[dict[Split, Metrics]]:
        """Measure each run on so many problems of each split; nothing, if each is to be by itself."""
        if self._gave_up or len(trainers) < 2:
            return [{} for _ in trainers]
        runs, modules = [each.run for each in trainers], [each.train_module for each in trainers]
        found: list[dict[Split, Metrics]] = [{} for _ in trainers]
        try:
            for split, numbers in counts.items():
                for own, metrics in zip(found, self._evaluate(runs, modules, split, numbers), strict=True):
                    own[split] = metrics
        except Exception as error:  # if it is that of one run, it will come back there
            self._gave_up = True
            self._news(f"they are evaluated one after the other ({first_words(error)})")
            return [{} for _ in trainers]
        return found


def fit_together(
    trainers: Sequence[Trainer], news: News, evaluations: Evaluations | None = None
) -> Iterator[list[tuple[Trainer, End]]]:
    """Train runs at once, as `fit` does each; yield those that have ended, as soon as that is so.

    `unforced.config.stacking` says which runs that can be. A run that fails is yielded with its error, and
    the others go on. Seconds in which one run is evaluated or saved, or in which the caller deals with one,
    are not counted as training of the others. evaluations: measure those that are evaluated at the same step.
    """
    with session() as request:
        lanes = [_Lane(trainer, request) for trainer in trainers]
        for trainer in trainers:
            trainer.runs_at_once = len(trainers)
        _evaluate([each for each in lanes if each.trainer.evaluated_at is None], evaluations, lanes)
        for lane in lanes:
            lane.advance(None, lanes)
        ended, lanes = _parted(lanes)
        yield from _handed_over(ended, lanes)
        stack = _stack([lane.member for lane in lanes], trainers[0].device, news) if lanes else None
        while stack is not None:
            _train_until_one_ends(stack, lanes, news, evaluations)
            stack = stack.keep([row for row, lane in enumerate(lanes) if lane.end is None])
            ended, lanes = _parted(lanes)
            yield from _handed_over(ended, lanes)


def stepper(trainers: Sequence[Trainer], say: Callable[[str], None]) -> Callable[[], list[StepReport]]:
    """Return what takes a step of all trainers at once, and returns the report of each. Nothing is saved."""
    members = [Member(each.run, each.train_module, each.optimizer) for each in trainers]
    take, lay_out = _quickest(_stack(members, trainers[0].device, say), say), StackedInputs(trainers)

    def step() -> list[StepReport]:
        reports = take(*lay_out()).of_runs()
        for each, report in zip(trainers, reports, strict=True):
            each.took(report)
        return reports

    return step


def _stack(members: Sequence[Member], device: torch.device, say: Callable[[str], None]) -> StackedStep:
    """Build what takes steps of runs at once, compiled if they want that."""
    return StackedStep(members, device, Compiler(say) if members[0].run.compile else None)


def _quickest(stack: StackedStep, say: Callable[[str], None]) -> StackedStep | CapturedStep:
    """Return what takes a stack's steps soonest on its device."""
    return CapturedStep(stack, say) if stack.device.type == "cuda" else stack


def _train_until_one_ends(
    stack: StackedStep, lanes: Sequence[_Lane], news: News, evaluations: Evaluations | None
) -> None:
    """Take steps of all runs until at least one of them has ended."""
    step = _quickest(stack, news)
    rows = [_Row(step, index) for index in range(len(lanes))]
    for lane, row in zip(lanes, rows, strict=True):
        lane.trainer.step_state = row
    lay_out = StackedInputs([lane.trainer for lane in lanes])
    while all(lane.end is None for lane in lanes):
        try:
            inputs = lay_out()
        except Exception:
            failed = [lane for lane in lanes if lane.cannot_go_on()]
            if not failed:
                raise
            break
        reports = step(*inputs).of_runs()
        _evaluate([each for each in lanes if each.is_evaluated_next], evaluations, lanes)
        for lane, report in zip(lanes, reports, strict=True):
            lane.advance(report, lanes)
    for row in rows:
        row.leave()


def _evaluate(due: Sequence[_Lane], evaluations: Evaluations | None, lanes: Sequence[_Lane]) -> None:
    """Measure together the runs that are due; those of all lanes are told what time that took."""
    if evaluations is None or len(due) < 2:
        return
    began, trainers = time.perf_counter(), [each.trainer for each in due]
    counts = {split: [each.run.num_evaluate for each in trainers] for split in SPLITS}
    for trainer, metrics in zip(trainers, evaluations(trainers, counts), strict=True):
        trainer.measured = metrics
    _exclude(time.perf_counter() - began, lanes)


def _parted(lanes: Sequence[_Lane]) -> tuple[list[_Lane], list[_Lane]]:
    """Return the runs that have ended, and the others."""
    return [each for each in lanes if each.end is not None], [each for each in lanes if each.end is None]


def _handed_over(ended: list[_Lane], others: Sequence[_Lane]) -> Iterator[list[tuple[Trainer, End]]]:
    """Yield runs that have ended, and let go of them."""
    ends = [(lane.trainer, lane.end) for lane in ended if lane.end is not None]
    ended.clear()
    if ends:
        began = time.perf_counter()
        yield ends
        _exclude(time.perf_counter() - began, others)


def _exclude(seconds: float, lanes: Sequence[_Lane]) -> None:
    """Do not count seconds as training of these runs."""
    if seconds:
        for lane in lanes:
            lane.trainer.timer.exclude(seconds)
