"""The folder of a study: a folder for each of its runs, and

study.json      the fingerprints of its runs, and its expectations
logs/           the output of each run's processes, and their configs
states.json     the state of each run when the study last ended
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from unforced.config import Run
from unforced.config.fingerprint import SCHEMA
from unforced.errors import UserError
from unforced.files import is_blank, read_json, write_json
from unforced.locks import is_locked, locked
from unforced.provenance import check_elsewhere, records_of
from unforced.runs.folder import STUDY, RunFolder
from unforced.studies.engines import Job
from unforced.study import Study
from unforced.wording import typed

_TAKEN = "another process is at work on this study; let it end, or stop it"


class StudyFolder:
    """Paths and files of one study."""

    def __init__(self, path: Path) -> None:
        self.path, self.marker = path, path / STUDY
        self.logs, self.states = path / "logs", path / "states.json"

    def claim(self, study: Study) -> None:
        """Make this the folder of a study, if it is not yet. Raises UserError if it holds something else."""
        self.check(study)
        self.logs.mkdir(parents=True, exist_ok=True)
        record = _record(study)
        marker = read_json(self.marker) if self.marker.exists() else None
        if marker is None or (marker != record and marker["runs"].keys() <= record["runs"].keys()):
            write_json(self.marker, record)

    def check(self, study: Study) -> None:
        """Raise UserError if this cannot be the folder of a study, or holds another one; write nothing.

        It cannot be if a run has a part that other processes cannot load. A folder may hold a part of a study
        and get more runs later: it is the same study if the runs that both have are the same.
        """
        for run in study.runs.values():
            check_elsewhere(run)
        for above in self.path.parents:
            if above.exists() and not above.is_dir():
                raise UserError(f"{self.path}: {above} is a file; choose another {typed('out')}")
        if self.marker.exists():
            self._check_same(study)
        elif self.path.exists() and not is_blank(self.path, self.marker, self.logs):
            raise UserError(
                f"{self.path} exists and is not the folder of a study; choose another {typed('out')}"
            )

    def check_free(self) -> None:
        """Raise UserError if another process works on the study."""
        if is_locked(self.path):
            raise UserError(f"{self.path}: {_TAKEN}")

    def locked(self) -> AbstractContextManager[None]:
        """Lock the study against a second process. Raises TransientError if it is locked."""
        return locked(self.path, _TAKEN)

    def run(self, name: str) -> RunFolder:
        """Return the folder of a run."""
        return RunFolder(self.path / name)

    def log(self, name: str) -> Path:
        """Return the log of a run."""
        return self.logs / f"{name}.log"

    def is_done(self, name: str, study: Study) -> bool:
        """Whether a run has undamaged results and, if the study asks for it, a diagnosis."""
        run = self.run(name)
        if not run.done:
            return False
        try:
            run.check_result(study.runs[name])
            return not study.diagnose or run.read_diagnosis() is not None
        except UserError:
            return False  # its process reports the damage

    def left(self, study: Study) -> dict[str, float]:
        """Return the unfinished runs, each with the fraction of its training that is left."""
        undone = [name for name in study.runs if not self.is_done(name, study)]
        return {name: 1 - self.progress(name, study.runs[name]) for name in undone}

    def progress(self, name: str, run: Run) -> float:
        """Return the fraction of a run's training that is done, by its latest evaluation."""
        if self.run(name).done:
            return 1.0
        try:
            lines = self.run(name).read_metrics()
        except UserError:
            return 0.0
        return lines[-1]["step"] / run.num_steps if lines else 0.0

    def ended(self, name: str) -> Path:
        """Return the file that records how the runs of the job that begins with `name` ended."""
        return self.logs / f"{name}.ended.jsonl"

    def job(self, names: Sequence[str], study: Study, trackers: Sequence[str] = (), stack: int = 1) -> Job:
        """Write the files that the process of some runs needs. Its log is that of the first run."""
        runs = []
        for name in names:
            config = self.logs / f"{name}.config.json"
            write_json(config, study.runs[name].tree())
            if records := records_of(study.runs[name]):
                write_json(self.logs / f"{name}.parts.json", records)
            runs.append((config.resolve(), self.run(name).path.resolve()))
        log, ended = self.log(names[0]).resolve(), self.ended(names[0]).resolve()
        ended.unlink(missing_ok=True)
        return Job(runs, log, ended, study.diagnose, Path.cwd(), trackers, stack)

    def _check_same(self, study: Study) -> None:
        try:
            marker = read_json(self.marker)
        except UserError as error:
            raise UserError(f"{error}; restore it, or choose another {typed('out')}") from None
        if isinstance(marker, dict) and self._is_of(study, marker):
            return
        for name, run in study.runs.items():
            if self.run(name).config.exists():
                RunFolder.reopen(self.path / name, run)
        raise UserError(f"{self.path} holds another study (see {self.marker}); choose another {typed('out')}")

    def _is_of(self, study: Study, marker: Mapping[str, Any]) -> bool:
        """Whether the marker is that of the study, of a part of it, or of a study that contains it.

        Fingerprints of the first release cannot be computed any more: its runs are compared by their recorded
        configs, and runs without one count as the study's if another run is.
        """
        runs = marker.get("runs")
        if not isinstance(runs, dict) or not (
            runs.keys() <= study.runs.keys() or study.runs.keys() <= runs.keys()
        ):
            return False
        common = {name: study.runs[name] for name in study.runs if name in runs}
        same = {name for name, run in common.items() if runs[name] == run.fingerprint}
        if marker.get("schema") == SCHEMA or len(same) == len(common):
            return len(same) == len(common)
        recorded = {name: run for name, run in common.items() if self.run(name).config.exists()}
        return bool(recorded) and all(not self.run(name).run().changes(run) for name, run in recorded.items())


def _record(study: Study) -> Mapping[str, Any]:
    return {
        "name": study.name,
        "source": study.source,
        "schema": SCHEMA,
        "runs": {name: run.fingerprint for name, run in study.runs.items()},
        "expectations": [expectation.model_dump(mode="json") for expectation in study.expectations],
    }
