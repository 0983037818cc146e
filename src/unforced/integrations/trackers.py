"""Experiment trackers: what a run writes into its folder, given to tensorboard, wandb or trackio as well.

A tracker is given each line of metrics.jsonl once, with its step, and at the end the numbers of result.json.
`trackers/NAME.json` in the run folder says how far it has come: a resumed run gives what is new, not the
steps it takes again, and a tracker may join a run that began, or ended, without it. A tracker that fails is
left out, and the run continues; `--resume` sends it the missing lines. A tracker's package is imported with
the first line that it is given.
"""

import contextlib
import importlib
import importlib.util
import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from accelerate.tracking import GeneralTracker, TensorBoardTracker, TrackioTracker, WandBTracker

from unforced.config import Run, flatten
from unforced.errors import UserError, unknown
from unforced.files import read_json, write_json
from unforced.runs.folder import RunFolder
from unforced.runs.history import numbers
from unforced.training.environment import is_first_process
from unforced.training.loop import Observer

_PROJECT = "unforced"


def check_trackers(names: Iterable[str]) -> None:
    """Raise UserError for a tracker that is unknown, or whose package is not installed; import none."""
    for name in names:
        if name not in STARTERS:
            raise unknown("tracker", name, STARTERS)
        if importlib.util.find_spec(name) is None:
            raise UserError(
                f"tracker {name!r} needs {name}, which is not installed: pip install 'unforced[{name}]'"
            )


@contextlib.contextmanager
def track(observer: Observer, names: Iterable[str], run: Run, path: Path) -> Iterator[Observer]:
    """Pass all news on to `observer`, and keep trackers of the run in `path` up to date.

    Only the first process of a distributed run tracks.
    """
    mine = dict.fromkeys(names) if is_first_process() else ()
    trackers = [Tracker(name, run, RunFolder(path), observer.say) for name in mine]
    try:
        yield Tracked(observer, trackers)
        for tracker in trackers:
            tracker.catch_up()
    finally:
        for tracker in trackers:
            tracker.finish()


class Tracked:
    """An observer that passes everything on, evaluations to trackers as well."""

    def __init__(self, observer: Observer, trackers: Sequence["Tracker"]) -> None:
        self.observer, self.trackers = observer, trackers
        self.say, self.update = observer.say, observer.update

    def evaluated(self, line: Mapping[str, Any]) -> None:
        """Pass a new line of metrics.jsonl on."""
        self.observer.evaluated(line)
        for tracker in self.trackers:
            tracker.hear(line)


class Tracker:
    """One tracker of one run."""

    def __init__(self, name: str, run: Run, folder: RunFolder, say: Callable[[str], None]) -> None:
        self.name, self.run, self.folder, self.say = name, run, folder, say
        self.mark = folder.trackers / f"{name}.json"
        self.step, self.has_result = -1, False
        self.client: GeneralTracker | None = None
        self.failed = False

    def hear(self, line: Mapping[str, Any]) -> None:
        """Take a new line of metrics.jsonl; at first also those that the tracker lacks."""
        if self.client is None:
            self.catch_up()
        else:
            self._attempt(lambda: self._give_line(line))

    def catch_up(self) -> None:
        """Give what the run folder holds and the tracker lacks."""
        self._attempt(self._give_what_is_lacking)

    def finish(self) -> None:
        """Let the tracker write what it still holds."""
        if self.client is not None:
            self._attempt(self.client.finish)

    def _give_what_is_lacking(self) -> None:
        if self.mark.exists():
            mark = read_json(self.mark)
            self.step, self.has_result = mark["step"], mark["result"]
        for line in self.folder.read_metrics():
            self._give_line(line)
        if self.folder.done and not self.has_result:
            result = self.folder.read_result()
            self.has_result = True
            self._give(result["steps"], numbers({"result": result}))

    def _give_line(self, line: Mapping[str, Any]) -> None:
        if line["step"] > self.step:
            self._give(line["step"], numbers({key: value for key, value in line.items() if key != "step"}))

    def _give(self, step: int, values: dict[str, int | float]) -> None:
        if self.client is None:
            self.folder.trackers.mkdir(exist_ok=True)
            self.client = STARTERS[self.name](self.run, self.folder)
        self.client.log(values, step=step)
        self.step = step
        write_json(self.mark, {"step": step, "result": self.has_result})

    def _attempt(self, action: Callable[[], None]) -> None:
        """Do something that may fail, but must not harm the run or print on standard output."""
        if self.failed:
            return
        try:
            with contextlib.redirect_stdout(sys.stderr):
                action()
        except Exception as error:
            self.failed = True
            self.say(str(UserError(f"tracker {self.name!r} is left out from here on: {error!r}")))


def start_tensorboard(run: Run, folder: RunFolder) -> GeneralTracker:
    """Write events into `trackers/tensorboard`, also of a resumed run: it is one run in TensorBoard.

    The settings are written once, when the folder is new, and in folders below, as accelerate does it.
    """
    tracker = TensorBoardTracker("tensorboard", folder.trackers)
    is_new = not (folder.trackers / "tensorboard").exists()
    tracker.start()
    if is_new:
        tracker.store_init_configuration({key: _plain(value) for key, value in flatten(run.tree()).items()})
    return tracker


def start_wandb(run: Run, folder: RunFolder) -> GeneralTracker:
    """Write a Weights & Biases run into `trackers/wandb`; its id is the run's fingerprint.

    Offline, unless WANDB_MODE says otherwise: each session of a resumed run writes a folder, and `wandb sync`
    of them all makes one run. Online, the run is resumed; wandb itself drops a step that its server has.
    A process of its own writes, a little later: a kill of both costs the last lines.
    """
    tracker = WandBTracker(
        _PROJECT,
        dir=str(folder.trackers.resolve()),
        id=run.fingerprint,
        name=folder.path.resolve().name,
        resume="allow",
        mode=os.environ.get("WANDB_MODE", "offline"),
        config=run.tree(),  # nested: wandb wants no dots in keys, and writes them itself
        settings={"console": "off"},
    )
    tracker.start()
    return tracker


def start_trackio(run: Run, folder: RunFolder) -> GeneralTracker:
    """Write a trackio run, named by its fingerprint, into `trackers/trackio`, or where TRACKIO_DIR says.

    A resumed run continues the same one. trackio writes twice a second: a kill costs it the lines between.
    """
    os.environ.setdefault("TRACKIO_DIR", str((folder.trackers / "trackio").resolve()))
    tracker = FinishedOnce(
        _PROJECT,
        name=run.fingerprint,
        resume="allow",
        config=flatten(run.tree()),
        auto_log_cpu=False,
        auto_log_gpu=False,
    )
    tracker.start()
    return tracker


class FinishedOnce(TrackioTracker):  # type: ignore[misc]  # accelerate has no types
    """accelerate's, but trackio is finished once, so that it prints nothing at exit."""

    def finish(self) -> None:
        """Write what is left."""
        importlib.import_module("trackio").finish()


STARTERS: dict[str, Callable[[Run, RunFolder], GeneralTracker]] = {
    "tensorboard": start_tensorboard,
    "wandb": start_wandb,
    "trackio": start_trackio,
}


def _plain(value: Any) -> Any:
    """Write what TensorBoard has no place for, None and lists, as text."""
    return value if isinstance(value, int | float | str) else json.dumps(value)
