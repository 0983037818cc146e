"""The run folder: all files of a run.

config.json     the resolved run             metrics.jsonl   a line per evaluation, append-only
parts.json      where parts of one's own are from, if there are any
env.json        versions, hardware, git      checkpoints/    weights and optimiser state
answers.json    some test problems with free-running answers
traces.json     a few of them, symbol by symbol with probabilities
result.json     the results, written last: its presence means that the run is done
diagnosis.json  the result of `unforced diagnose`
trackers/       files of experiment trackers
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from unforced.config import flatten
from unforced.config.fingerprint import tree_digest
from unforced.errors import ConfigError, UserError
from unforced.files import is_blank, read_json, write_atomically, write_json
from unforced.locks import is_locked, locked
from unforced.parts import Tree
from unforced.provenance import PARTS, load_parts, origin_in_words, read_records, records_of
from unforced.runs.schemas import (
    Config,
    Diagnosis,
    Environment,
    Evaluation,
    Record,
    Result,
    Traces,
    check,
    with_present_names,
    with_prompts,
)
from unforced.wording import typed

if TYPE_CHECKING:  # a run brings torch, which a report does without
    from unforced.config import Run

STUDY = "study.json"
"""Marks the folder of a study, in which runs have their folders."""


def _restore() -> str:
    return f"restore it, or start a new run with another {typed('out')}"


class RunFolder:
    """Paths and files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config, self.env = path / "config.json", path / "env.json"
        self.metrics, self.result = path / "metrics.jsonl", path / "result.json"
        self.answers, self.checkpoints = path / "answers.json", path / "checkpoints"
        self.traces, self.diagnosis = path / "traces.json", path / "diagnosis.json"
        self.trackers, self.parts = path / "trackers", path / PARTS

    @classmethod
    def claim(cls, path: Path, run: "Run") -> "RunFolder":
        """Choose a new run's folder without writing. Raises UserError if `path` is not free."""
        folder = cls(path)
        if folder.config.exists():
            same = not folder.run().changes(run)
            advice = (
                f"add {typed('resume', True)} to continue it" if same else f"choose another {typed('out')}"
            )
            raise UserError(f"{path} holds {'this' if same else 'another'} run already; {advice}")
        if path.exists() and not is_blank(path, folder.config, folder.checkpoints, folder.parts.name):
            raise UserError(f"{path} exists and is not a run folder; choose another {typed('out')}")
        return folder

    def create(self, run: "Run") -> None:
        """Make the folder of a new run."""
        self.checkpoints.mkdir(parents=True, exist_ok=True)
        try:
            if records := records_of(run):
                write_json(self.parts, records)
            write_json(self.config, run.tree())
        except OSError:
            self.checkpoints.rmdir()  # so that the path is free again
            self.parts.unlink(missing_ok=True)
            raise

    @classmethod
    def reopen(cls, path: Path, run: "Run") -> "RunFolder":
        """Open a run's folder to resume it. Raises UserError if it does not hold this run."""
        folder = cls.open(path)
        if changed := folder.run().changes(run):
            was, now = flatten(folder.run().tree()), flatten(run.tree())
            if (data := _data_of(run, changed, now)) is not None:
                raise UserError(
                    f"{path} cannot be resumed: {data} has changed since the run was begun; restore it, or "
                    f"start a new run with another {typed('out')}"
                )
            key, more = changed[0], f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
            raise UserError(
                f"{path} cannot be resumed with {key}={json.dumps(now.get(key))}{more}: its run has "
                f"{key}={json.dumps(was.get(key))}; drop the override, or start a new run with another "
                f"{typed('out')}"
            )
        folder.checkpoints.mkdir(exist_ok=True)
        return folder

    @classmethod
    def open(cls, path: Path) -> "RunFolder":
        """Open an existing run folder. Raises UserError if it is not one."""
        folder = cls(path)
        if not path.exists():
            raise UserError(f"{path}: no such run folder")
        if not folder.config.is_file():
            raise UserError(f"{path} is not a run folder: it has no config.json")
        folder.run()
        return folder

    def run(self) -> "Run":
        """Build the folder's run; parts of one's own are loaded from the files that parts.json names."""
        from unforced.config import Run

        tree = self._read(self.config, Record, _restore())
        records = read_records(self.parts)
        load_parts(records)
        try:
            return Run.from_tree(tree)
        except ConfigError as error:
            why = origin_in_words(records, error.part) if error.part else _in_a_record(error)
            raise UserError(f"{self.config}: {why}") from None
        except (UserError, TypeError, ValueError, RecursionError) as error:
            raise UserError(f"{self.config}: {error}; {_restore()}") from None

    def read_config(self) -> Tree:
        """Read the settings of the run, whose parts need not be installed."""
        return self._read(self.config, Config, _restore())

    def config_digest(self) -> str:
        """Hash config.json, which never changes after the run began."""
        return tree_digest(self.read_config())

    def implementation(self) -> dict[str, str]:
        """Read the implementations that the run's first session selected; empty if it ended before that."""
        if not self.env.exists():
            return {}
        advice = "restore it, or delete it to have implementations chosen afresh"
        return dict(self._read(self.env, Environment, advice, with_present_names)["implementation"])

    def read_environment(self) -> dict[str, Any]:
        """Read env.json; empty if there is none."""
        if not self.env.exists():
            return {}
        return self._read(self.env, Record, "restore it, or delete it", with_present_names)

    def read_result(self) -> dict[str, Any]:
        """Read the results of a run that is done."""
        advice = f"delete it, and train with {typed('resume', True)} to measure again"
        return self._read(self.result, Result, advice, with_present_names)

    def check_result(self, run: "Run") -> None:
        """Raise UserError if the files of a finished run are damaged or another run's."""
        if self.run().changes(run):
            raise UserError(f"{self.config} is another run's; {_restore()}")
        result, digest = self.read_result(), self.config_digest()
        if result.get("config", result.get("run", digest)) != digest:  # the first release wrote `run` alone
            raise UserError(
                f"{self.result} is another run's; delete it, and train with {typed('resume', True)}"
            )
        self.read_metrics()

    def read_traces(self) -> dict[str, Any]:
        """Read the traces of a run that is done."""
        advice = f"delete it and result.json, and train with {typed('resume', True)}"
        return self._read(self.traces, Traces, advice, with_prompts)

    def read_diagnosis(self) -> dict[str, Any] | None:
        """Read the diagnosis; None if the run was not diagnosed."""
        if not self.diagnosis.exists():
            return None
        advice = "delete it, or diagnose the run again"
        return self._read(self.diagnosis, Diagnosis, advice, with_present_names)

    @property
    def done(self) -> bool:
        """Whether the run has finished: it has results."""
        return self.result.exists()

    def locked(self) -> AbstractContextManager[None]:
        """Lock the folder against a second training process. Raises TransientError if it is locked."""
        self.path.mkdir(parents=True, exist_ok=True)
        return locked(self.path, "another process is training this run")

    @property
    def busy(self) -> bool:
        """Whether another process is training this run."""
        return is_locked(self.path)

    def append_metrics(self, line: dict[str, Any]) -> None:
        """Append a line to metrics.jsonl and flush it to disk."""
        with self.metrics.open("a") as file:
            file.write(json.dumps(line, allow_nan=False) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read_metrics(self) -> list[dict[str, Any]]:
        """Return the complete lines of metrics.jsonl, without an incomplete last one."""
        return [self._evaluation(number, text) for number, text in enumerate(self._whole_lines(), 1)]

    def evaluations(self, step: int) -> list[dict[str, Any]]:
        """Return the evaluations up to a checkpoint's `step`. Raises UserError if one is missing."""
        lines = [line for line in self.read_metrics() if line["step"] <= step]
        due = range(0, step + 1, self.run().evaluate_every)
        missing = sorted(set(due) - {line["step"] for line in lines})
        if missing:
            raise UserError(
                f"{self.metrics}: the evaluation at step {missing[0]} is missing, though there is a "
                f"checkpoint of step {step}; {_restore()}"
            )
        return lines

    def rewind_metrics(self, step: int) -> None:
        """Drop the lines after `step`, which a resumed run writes again."""
        pairs = zip(self._whole_lines(), self.read_metrics(), strict=True)
        write_atomically(self.metrics, b"".join(text for text, line in pairs if line["step"] <= step))

    def _whole_lines(self) -> list[bytes]:
        if not self.metrics.exists():
            return []
        lines = self.metrics.read_bytes().splitlines(keepends=True)
        return lines if not lines or lines[-1].endswith(b"\n") else lines[:-1]

    def _evaluation(self, number: int, text: bytes) -> dict[str, Any]:
        where = f"{self.metrics}: line {number}"
        try:
            return check(Evaluation, json.loads(text), where)
        except (ValueError, RecursionError):
            raise UserError(f"{where}: not JSON; {_restore()}") from None
        except UserError as error:
            raise UserError(f"{error}; {_restore()}") from None

    def _read(
        self,
        file: Path,
        shape: type[Record],
        advice: str,
        updated: Callable[[Any], Any] = lambda value: value,
    ) -> dict[str, Any]:
        try:
            return check(shape, updated(read_json(file)), str(file))
        except UserError as error:
            raise UserError(f"{error}; {advice}") from None


def _in_a_record(error: ConfigError) -> str:
    """Describe an error in a recorded config, with advice."""
    if error.newer:
        return f"{error}; if a newer version wrote it, upgrade the package, else {_restore()}"
    return f"{error}; {_restore()}"


def _data_of(run: "Run", changed: Sequence[str], now: Mapping[str, Any]) -> str | None:
    """Return the path of data that are no longer the same, where the runs differ in nothing else."""
    paths = {f"task.{digest}": now.get(f"task.{path}") for path, digest in run.task.file_fields.items()}
    [key, *others] = changed
    return str(paths[key]) if not others and key in paths else None
