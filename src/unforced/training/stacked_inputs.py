"""What the steps of a stack are taken on: the views of all its runs, laid out at once where that can be."""

from collections.abc import Sequence

import torch

from unforced.errors import UserError
from unforced.objectives.moment import Moment
from unforced.objectives.view import StackedView, View, signature, tensors_of
from unforced.training.loop import Trainer
from unforced.training.optimizer import learning_rate
from unforced.training.source import Source, share
from unforced.training.stacked import RunNumbers
from unforced.training.step import term_weights

StackInputs = tuple[Sequence[StackedView], Sequence[RunNumbers]]


class StackedInputs:
    """Lays out the batches of several runs.

    Laid out run by run, a step of 64 runs takes 64 times the work of the host. So the rows of all runs are
    laid out as one batch, of one run after the other, and then divided. That gives the same views, if each
    row of a view is made of the same row of the batch; the first step is laid out in both ways and compared,
    and where they differ, or runs are at different steps, all are laid out run by run.
    """

    def __init__(self, trainers: Sequence[Trainer]) -> None:
        self.trainers = trainers
        self._shared: Source | None = None
        self._compared = False
        self._shapes: list[torch.Size] = []
        """Of the tensors of one run's view; a tensor that all rows share is not divided."""

    def __call__(self) -> StackInputs:
        """Return the views of each part of the batches, and the numbers of each run.

        Raises UserError: the runs' batches do not have the same shapes.
        """
        if not self._compared:
            self._compared = True
            return self._first()
        if self._shared is None or len({each.progress.step for each in self.trainers}) > 1:
            return self._apart()
        views = [self._together(part, self._shared) for part in self._parts]
        numbers = [(self._rate(each), term_weights([views[0].like])) for each in self.trainers]
        return views, numbers

    @property
    def _parts(self) -> list[slice]:
        parts = self.trainers[0].run.gradient_accumulation
        return [slice(part, None, parts) for part in range(parts)]

    def _apart(self) -> StackInputs:
        """Lay the batches out run by run."""
        of_runs = [each.inputs() for each in self.trainers]
        numbers = [(rate, term_weights(views)) for views, rate in of_runs]
        return [side_by_side(views) for views in zip(*(views for views, _ in of_runs), strict=True)], numbers

    def _first(self) -> StackInputs:
        """Lay the batches out run by run, and find out whether that can be done at once from now on."""
        inputs = self._apart()
        self._shapes = [tensor.shape[1:] for tensor in inputs[0][0].tensors]
        if len({each.progress.step for each in self.trainers}) == 1:
            self._shared = share([each.source for each in self.trainers])
        if self._shared is not None and not self._agrees(inputs[0], self._shared):
            self._shared = None
        return inputs

    def _agrees(self, apart: Sequence[StackedView], shared: Source) -> bool:
        try:
            together = [self._together(part, shared) for part in self._parts]
        except (RuntimeError, ValueError, IndexError):  # of a view that is made of the batch as a whole
            return False
        return all(
            signature(ours) == signature(theirs)
            and term_weights([ours.like]) == term_weights([theirs.like])
            and all(map(torch.equal, ours.tensors, theirs.tensors))
            for ours, theirs in zip(together, apart, strict=True)
        )

    def _together(self, part: slice, shared: Source) -> StackedView:
        """Lay out a part of all batches at once."""
        first, *others = self.trainers
        run, step, runs = first.run, first.progress.step, len(self.trainers)
        seeds = tuple(each.run.seed for each in others)
        moment = Moment(run.batch_size, part, step, run.num_steps, run.seed, first.device, others=seeds)
        view = run.objective.view(shared.batch(step, part), moment)
        tensors = tuple(
            tensor.expand(runs, *shape) if tensor.shape == shape else tensor.unflatten(0, (runs, shape[0]))
            for tensor, shape in zip(tensors_of(view), self._shapes, strict=True)
        )
        like = StackedView(view, tensors).one(tensor[0] for tensor in tensors)
        return StackedView(like, tensors)

    def _rate(self, trainer: Trainer) -> float:
        return learning_rate(trainer.run, trainer.progress.step)


def side_by_side(views: Sequence[View]) -> StackedView:
    """Put a part of each run's batch side by side. Raises UserError: they do not have the same shapes."""
    if len({signature(view) for view in views}) > 1:
        raise UserError("the runs' batches have different shapes, or terms of weight 0 at different times")
    return StackedView.of(views)
