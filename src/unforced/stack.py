"""Several runs at once, from their configs to their results."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from unforced.config import Run
from unforced.config.stacking import refusal
from unforced.errors import UserError
from unforced.evaluation.accuracy import measure
from unforced.experiment import Begun, as_user_error, held_by_the_first, outcome_of
from unforced.runs.folder import RunFolder
from unforced.training.loop import Observer, Outcome, Trainer, start_accelerator
from unforced.training.memory import oom_as_user_error
from unforced.training.store import FolderStore
from unforced.training.together import fit_together


@dataclass(frozen=True)
class Planned:
    """A run that is to be trained into a folder. resume: it has begun there."""

    run: Run
    path: Path
    observer: Observer
    resume: bool = False


def run_together(planned: Sequence[Planned]) -> Iterator[tuple[int, Outcome | UserError]]:
    """Train runs at once, and measure each; yield the place of each, and its end, as soon as it has ended.

    Each ends as it would by `run_experiment`. One that fails is yielded with its error, and stops no other.
    Raises UserError: the runs cannot be stacked, or do not fit into memory together; those that were not
    yielded can be resumed.
    """
    if reason := refusal([each.run for each in planned]):
        raise UserError(f"the runs cannot be trained at once: {reason}")
    with contextlib.ExitStack() as held, oom_as_user_error("they are trained in halves"):
        begun: dict[Trainer, tuple[int, Begun]] = {}
        for place, each in enumerate(planned):
            try:
                prepared = _prepared(each, held)
            except (UserError, OSError) as error:
                yield place, as_user_error(error, each.path)
                continue
            if isinstance(prepared, Outcome):
                yield place, prepared
            else:
                begun[prepared.trainer] = place, prepared
        for trainer, end in fit_together(list(begun)):
            place, of_run = begun.pop(trainer)
            try:
                if not isinstance(end, Outcome):
                    raise end
                of_run.measure(end)
            except (UserError, OSError) as error:
                yield place, as_user_error(error, planned[place].path)
            else:
                yield place, end


def _prepared(planned: Planned, held: contextlib.ExitStack) -> Begun | Outcome:
    """Get a run ready to be trained with others; its folder is held from now on. An outcome: it is done."""
    run, path, resume = planned.run, planned.path, planned.resume
    folder = RunFolder.reopen(path, run) if resume else RunFolder.claim(path, run)
    if folder.done:
        return outcome_of(folder, run)
    trainer = Trainer(run, FolderStore(folder), start_accelerator(run), measure, planned.observer)
    if trainer.accelerator.num_processes > 1:
        raise UserError("runs are stacked in one process only; start it without a launcher")
    held.enter_context(held_by_the_first(trainer, folder, new=not resume))
    return Begun.of(trainer, folder, resume, run.model.stacked_kernels or {})
