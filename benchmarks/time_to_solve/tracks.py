"""The tracks of time to solve, each a study: its task, its rules, and its entries, one per objective.

    unforced study benchmarks/time_to_solve/tracks.py:g2x4_two_cores --workers 2 --out runs/g2x4_two_cores
    unforced study benchmarks/time_to_solve/tracks.py:g2x5_gpu --workers 1 --stack 1 --out runs/g2x5_gpu
    unforced study benchmarks/time_to_solve/tracks.py:g5x5_gpu --workers 1 --stack 1 --out runs/g5x5_gpu

The rules in words, and the leaderboard: README.md.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from unforced.config import Run, flatten
from unforced.errors import UserError
from unforced.models.base import FromScratch
from unforced.recipes import resolve_run, resolve_study
from unforced.study import Study, over_seeds

SEEDS = range(5)
FREE = (
    *("objective", "decoder", "order", "model", "batch_size", "gradient_accumulation", "max_steps"),
    *("learning_rate", "schedule", "schedule_steps", "min_learning_rate", "warmup_steps", "warmup_from_zero"),
    *("optimizer", "muon_factor", "betas", "weight_decay", "clip_norm", "precision"),
    "evaluate_every",  # as the batch has it
)
"""What an entry may set; all else is the track's."""


@dataclass(frozen=True)
class Entry:
    """A way to solve a track's task. settings: overrides of the track's run; source: where they are from."""

    name: str
    settings: Sequence[str]
    source: str


@dataclass(frozen=True)
class Track:
    """A task, and what entries may do.

    base: the run that settings override. max_parameters: of model and heads together. max_samples: problems
    that a run may train on.
    """

    name: str
    title: str
    base: Run
    entries: Sequence[Entry]
    max_parameters: int
    max_samples: int
    on_gpu: bool

    def study(self) -> Study:
        """Return the runs of every entry, over the seeds. Raises UserError: an entry breaks a rule."""
        runs = {entry.name: self.base.override(entry.settings) for entry in self.entries}
        for run in runs.values():
            self.check(run)
        return Study(self.name, "benchmarks/time_to_solve/README.md", over_seeds(runs, SEEDS))

    def check(self, run: Run) -> None:
        """Raise UserError where a run breaks a rule that its config shows."""
        for key in self.changes(run):
            if key.partition(".")[0] not in FREE:
                fixed, given = (_get(each, key) for each in (self.base, run))
                raise UserError(f"{self.name}: {key}={given} is not free, it is {fixed}; drop the override")
        if run.seed not in SEEDS:
            raise UserError(f"{self.name}: seed={run.seed}; the seeds are {SEEDS[0]} to {SEEDS[-1]}")
        if not isinstance(run.model, FromScratch):
            raise UserError(f"{self.name}: model={run.model.name} begins with trained weights; use model=gpt")
        for key, value in flatten(run.tree()).items():
            if key.endswith("train_positions") and value is not None:
                raise UserError(f"{self.name}: {key} uses what is known of the task; drop the override")
        between = self.base.evaluate_every * self.base.batch_size
        if run.evaluate_every * run.batch_size != between:
            raise UserError(
                f"{self.name}: evaluate_every={run.evaluate_every} with batch_size={run.batch_size}; a run "
                f"is evaluated every {between:,} problems, so batch_size must divide {between:,}; use "
                f"evaluate_every={between // run.batch_size}"
            )
        if run.num_steps * run.batch_size > self.max_samples:
            raise UserError(
                f"{self.name}: max_steps={run.num_steps} with batch_size={run.batch_size} is more than "
                f"{self.max_samples:,} problems; use max_steps={self.max_samples // run.batch_size}"
            )

    def check_result(self, result: Mapping[str, Any]) -> None:
        """Raise UserError where what is recorded of a finished run breaks a rule."""
        hardware, step = result["hardware"], str(result["implementation"].get("step", ""))
        if result["parameters"] > self.max_parameters:
            raise UserError(
                f"{self.name}: {result['parameters']:,} parameters; at most {self.max_parameters:,}"
            )
        if hardware["processes"] != 1 or "stacked" in step:
            raise UserError(f"{self.name}: a run is trained alone, in one process; use --stack 1")
        if (hardware["device"] != "cpu") != self.on_gpu:
            raise UserError(f"{self.name}: trained on {hardware['device']}; the track is {self.title}")
        if not self.on_gpu and hardware["threads"] != 1:
            raise UserError(
                f"{self.name}: trained by {hardware['threads']} threads; use --workers 2 on two cores"
            )

    def changes(self, run: Run) -> list[str]:
        """Return the dotted keys in which a run is not the track's, but for its seed."""
        return [key for key in self.base.changes(run) if key != "seed"]


def _get(run: Run, key: str) -> Any:
    return flatten(run.tree()).get(key)


def g2x4_two_cores() -> Study:
    """G(2,4) with 9 labels, two runs at once on two cores: fresh problems, 160,000 at the most."""
    return TRACKS["g2x4_two_cores"].study()


def g2x5_gpu() -> Study:
    """G(2,5) with 11 labels, one run at a time on a GPU: fresh problems, 320,000 at the most."""
    return TRACKS["g2x5_gpu"].study()


def g5x5_gpu() -> Study:
    """G(5,5) with 100 labels, one run at a time on a GPU: 200,000 problems, 2,560,000 samples at the most."""
    return TRACKS["g5x5_gpu"].study()


def _entries(horizon: int, source: str, known: Mapping[str, tuple[str, Sequence[str]]]) -> list[Entry]:
    """Return an entry per objective, with the track's settings as `source` has them.

    horizon: of multi_token, in tokens. known: for some, by name, other settings, after where they are from.
    """
    parallel = ("objective=multi_token", f"objective.horizon={horizon}")
    names = ("teacherless", "token_order", "future_summary", "next_latent", "belief_state", "masked", "joint")
    ways = {
        "next_token": (),
        "reversed": ("order=reversed",),
        "multi_token_parallel": parallel,
        "multi_token_shared": (*parallel, "objective.heads=shared"),
        **{name: (f"objective={name}",) for name in (*names, "insertion")},
    }
    plain = dict.fromkeys(ways, (source, ())) | dict(known)
    return [Entry(name, (*chosen, *plain[name][1]), plain[name][0]) for name, chosen in ways.items()]


_QUICKSTART = (
    *("schedule=constant", "evaluate_every=50", "num_evaluate=1000", "num_test=5000"),
    *("checkpoint_every=5000", "keep_checkpoints=1"),
)
_SMALL = "papers/objectives_small"
_HALF = ("batch_size=32", "evaluate_every=100", "max_steps=5000")
_QUICK = (*_HALF, "learning_rate=2e-3", "schedule=cosine", "schedule_steps=1500")
_SEED = "seed 101, once"
_UNTRIED = ("multi_token_parallel", "multi_token_shared", "belief_state")
_TRIED = {
    **dict.fromkeys(("reversed", "future_summary", "next_latent", "joint"), (_SEED, _QUICK)),
    **dict.fromkeys(("token_order", "teacherless"), (_SEED, _HALF)),
    **dict.fromkeys(_UNTRIED, (f"{_SMALL}, half the batch", _HALF)),
}
_G2X4 = Track(
    name="g2x4_two_cores",
    title="G(2,4) on two cores",
    base=resolve_run("quickstart.next_token", [*_QUICKSTART, "max_steps=2500"]),
    entries=_entries(4, _SMALL, _TRIED),
    max_parameters=1_000_000,
    max_samples=160_000,
    on_gpu=False,
)
_LARGER = ("task.path_length=5", "task.num_nodes=11", "max_steps=5000")
_G2X5 = Track(
    name="g2x5_gpu",
    title="G(2,5) on one GPU",
    base=resolve_run("quickstart.next_token", [*_QUICKSTART, *_LARGER]),
    entries=_entries(5, _SMALL, {}),
    max_parameters=1_000_000,
    max_samples=320_000,
    on_gpu=True,
)
_FIGURE = "papers/nextlat_fig6"
_G5X5 = Track(
    name="g5x5_gpu",
    title="G(5,5) on one GPU",
    base=resolve_study("nextlat_fig6", [])
    .runs["5x5-next_token-0"]
    .override(
        [
            *("stop_when=solved", "evaluate_every=100", "num_evaluate=1000", "num_test=10000"),
            *("max_steps=5000", "checkpoint_every=5000", "keep_checkpoints=1"),
        ]
    ),
    entries=_entries(4, _FIGURE, {}),
    max_parameters=50_000_000,
    max_samples=2_560_000,
    on_gpu=True,
)
TRACKS = {track.name: track for track in (_G2X4, _G2X5, _G5X5)}
