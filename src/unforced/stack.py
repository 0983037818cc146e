"""Several runs at once, from their configs to their results."""

import contextlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from unforced.config import Run
from unforced.config.stacking import refusal
from unforced.errors import TransientError, UserError
from unforced.evaluation.accuracy import measure
from unforced.evaluation.together import measure_together
from unforced.experiment import Begun, as_user_error, held_by_the_first, outcome_of
from unforced.models.failures import first_words
from unforced.runs.folder import RunFolder
from unforced.tasks.sampling import Split
from unforced.training.loop import Metrics, Observer, Outcome, Trainer, start_accelerator
from unforced.training.memory import oom_as_user_error
from unforced.training.processes import find_device
from unforced.training.stack_trial import stack_differs
from unforced.training.store import FolderStore
from unforced.training.together import End, Evaluations, News, fit_together


@dataclass(frozen=True)
class Planned:
    """A run that is to be trained into a folder. resume: it has begun there."""

    run: Run
    path: Path
    observer: Observer
    resume: bool = False


def run_together(
    planned: Sequence[Planned], say: Callable[[str], None]
) -> Iterator[tuple[int, Outcome | UserError]]:
    """Train runs at once, and measure each; yield the place of each, and its end, as soon as it has ended.

    Each ends as it would by `run_experiment`. One that fails is yielded with its error, and stops no other.
    One that began with other kernels than a stack's is left out. Raises UserError: the runs cannot be
    stacked, do not fit into memory together, or come out otherwise on this device than alone (a few steps of
    a small stack are tried first, but on a processor). Those that were not yielded can be trained alone. say:
    takes news of them all.
    """
    if reason := refusal([each.run for each in planned]):
        raise UserError(f"the runs cannot be trained at once: {reason}")
    with contextlib.ExitStack() as held, oom_as_user_error("stack fewer runs"):
        if find_device().type != "cpu" and (reason := stack_differs(planned[0].run)):
            raise UserError(reason)
        begun: dict[Trainer, tuple[int, Begun, contextlib.ExitStack]] = {}
        for place, each in enumerate(planned):
            own = held.enter_context(contextlib.ExitStack())
            try:
                prepared = _prepared(each, own)
            except (UserError, OSError) as error:
                own.close()
                yield place, as_user_error(error, each.path)
                continue
            if isinstance(prepared, Outcome):
                yield place, prepared
            elif prepared is not None:
                begun[prepared.trainer] = place, prepared, own
        news = News(say)
        evaluations = Evaluations(measure_together, news)
        for ended in fit_together(list(begun), news, evaluations):
            yield from _concluded(ended, begun, evaluations)


def _concluded(
    ended: list[tuple[Trainer, End]],
    begun: dict[Trainer, tuple[int, Begun, contextlib.ExitStack]],
    evaluations: Evaluations,
) -> Iterator[tuple[int, Outcome | UserError]]:
    """Measure runs that have ended, those with a result together; yield the place of each, and its end."""
    wanted = [trainer for trainer, end in ended if isinstance(end, Outcome) and end.stopped_by is None]
    measured: dict[Trainer, Mapping[Split, Metrics]] = {}
    if wanted:
        counts = {split: [each.run.num_test for each in wanted] for split in wanted[0].run.task.splits}
        measured = dict(zip(wanted, evaluations(wanted, counts), strict=True))
    del wanted
    while ended:
        trainer, end = ended.pop(0)
        place, of_run, own = begun.pop(trainer)
        with own:
            try:
                if not isinstance(end, Outcome):
                    raise end
                of_run.measure(end, measured.pop(trainer, {}))
            except Exception as error:
                result: Outcome | UserError = _as_user_error(error, of_run.folder.path)
            else:
                result = end
        yield place, result
        del trainer, of_run, own  # and their memory, while the others train on


def _as_user_error(error: Exception, path: Path) -> UserError:
    """Return a line for what ended a run; print where an error comes from that no line explains."""
    if isinstance(error, (UserError, OSError)):
        return as_user_error(error, path)
    traceback.print_exception(error)
    return TransientError(f"{type(error).__name__}: {first_words(error)}")


def _prepared(planned: Planned, held: contextlib.ExitStack) -> Begun | Outcome | None:
    """Get a run ready to be trained with others; its folder is held from now on.

    An outcome: it is done. None: it has begun with other kernels than those of a stack.
    """
    run, path, resume = planned.run, planned.path, planned.resume
    folder = RunFolder.reopen(path, run) if resume else RunFolder.claim(path, run)
    if folder.done:
        return outcome_of(folder, run)
    kernels = run.model.stacked_kernels or {}
    recorded = folder.implementation() if resume else {}
    if any(recorded.get(kind, name) != name for kind, name in kernels.items()):
        return None
    trainer = Trainer(run, FolderStore(folder), start_accelerator(run), measure, planned.observer)
    if trainer.accelerator.num_processes > 1:
        raise UserError("runs are stacked in one process only; start it without a launcher")
    held.enter_context(held_by_the_first(trainer, folder, new=not resume))
    return Begun.of(trainer, folder, resume, kernels)
