"""What is said of a run at its end: its result, its answers to some problems, and traces of a few."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from unforced.config import Run
from unforced.evaluation.accuracy import Metrics, measure, prefixed, with_intervals
from unforced.evaluation.evaluator import Evaluator, answers
from unforced.evaluation.trace import symbol_texts, trace
from unforced.models.base import FromScratch
from unforced.models.failures import first_words
from unforced.provenance import records_of
from unforced.tasks.problems import Problems, Symbols
from unforced.tasks.sampling import Split
from unforced.training.environment import describe
from unforced.training.flops import (
    answer_flops_of,
    flops_of,
    flops_per_answer,
    flops_per_sample,
    some_problems,
)
from unforced.training.loop import SPLITS, Outcome, Trainer
from unforced.training.precision import autocast_dtype
from unforced.training.source import split_problems

_NUM_ANSWERS = 100
_NUM_TRACES = 12
_SMALL = 5_000_000
"""Parameters up to which operations are counted on numbers."""


@dataclass(frozen=True)
class Measured:
    """JSON values: those of result.json, answers.json and traces.json."""

    result: dict[str, Any]
    answers: list[dict[str, Any]]
    traces: dict[str, Any]

    @classmethod
    def of(
        cls,
        trainer: Trainer,
        outcome: Outcome,
        flops: float | None,
        environment: Mapping[str, Any],
        known: Mapping[Split, Metrics] = MappingProxyType({}),
    ) -> "Measured | None":
        """Measure a trained run on every split of its task, in all processes; the first has the result.

        known: what was measured already, by split.
        """
        run, train_module = trainer.run, trainer.train_module
        metrics: Metrics = {}
        for split in run.task.splits:
            measured = known.get(split) or measure(
                run, train_module, split, run.num_test, trainer.accelerator
            )
            metrics |= prefixed(split, measured)
        if not trainer.accelerator.is_main_process:
            return None
        evaluator = Evaluator.of(run, train_module)
        answered = split_problems(run, "test", min(_NUM_ANSWERS, run.num_test))
        traced = split_problems(run, "test", min(_NUM_TRACES, run.num_test))
        return cls(
            _result(trainer, outcome, flops, environment, metrics),
            answer_records(evaluator, answered),
            {"run": run.fingerprint, **trace(evaluator, traced)},
        )


def describe_session(trainer: Trainer, known: Mapping[str, str], base: Mapping[str, Any]) -> dict[str, Any]:
    """Select the kernels, or those `known` from an earlier session, and describe what the run runs on.

    base: what is recorded of the weights that it starts from, see `unforced.bases`.
    """
    accelerator = trainer.accelerator
    return {
        **describe(accelerator.device),
        **base,
        "processes": accelerator.num_processes,
        "autocast_dtype": str(autocast_dtype(trainer.run, accelerator.device)).removeprefix("torch."),
        "implementation": trainer.select_kernels(known),
        "parts": records_of(trainer.run),
    }


def count_flops(trainer: Trainer) -> float | None:
    """Count the operations of training on one problem; None where they cannot be counted, with a message."""
    run, train_module = trainer.run, trainer.train_module
    try:
        if _counts_on_numbers(trainer):
            return flops_per_sample(run, some_problems(run, "train"), train_module)
        return flops_of(run)
    except RuntimeError as error:  # the model runs, but not everything has a shape alone
        trainer.observer.say(
            f"floating-point operations cannot be counted, the result has none ({first_words(error)})"
        )
        return None


def say_notices(trainer: Trainer) -> None:
    """Say before training what a user may have overlooked in the data and the decoder."""
    if trainer.accelerator.is_main_process:
        for line in filter(None, (trainer.run.task.notice, _one_answer(trainer.run))):
            trainer.say(line)


def _one_answer(run: Run) -> str:
    """Say so where all problems of an open-ended task get the same answer."""
    score = run.task.of_a_set
    if score is None or run.decoding.samples:
        return ""
    few = split_problems(run, "test", _NUM_TRACES)
    if len(np.unique(run.task.prompts(few)[score.asked(few)], axis=0)) > 1:
        return ""
    return (
        f"all prompts are the same, and the decoder {run.decoding.name} writes the same answer to each: "
        "sample by decoder=autoregressive decoder.temperature=1, or let prompts differ, by task.seed_length"
    )


def say_work(trainer: Trainer, flops: float | None) -> None:
    """Say what a run of a language model will compute, before it does; flops: of training on one problem.

    A problem that is measured is answered freely, and read once more with the true answer.
    """
    run = trainer.run
    if flops is None or isinstance(run.model, FromScratch) or not trainer.accelerator.is_main_process:
        return
    steps = run.num_steps
    evaluations = 1 + -(-steps // run.evaluate_every)
    answered = evaluations * len(SPLITS) * run.num_evaluate + len(run.task.splits) * run.num_test
    training, measuring = flops * run.batch_size * steps, (count_answer_flops(trainer) + flops / 3) * answered
    trainer.say(
        f"{training / 1e12:,.0f} TFLOP to train: {steps:,} steps of {run.batch_size} problems; "
        f"{measuring / 1e12:,.0f} TFLOP to measure {answered:,} answers (num_evaluate, num_test)"
    )


def count_answer_flops(trainer: Trainer) -> float:
    """Count the operations of answering one problem.

    Where they depend on what is written, they are those of the trained model on a few test problems.
    """
    run, device = trainer.run, trainer.device
    if not _counts_on_numbers(trainer):
        with contextlib.suppress(RuntimeError):
            return answer_flops_of(run)
    batch = some_problems(run).map(lambda tensor: tensor.to(device))
    return flops_per_answer(run, trainer.train_module, batch)


def _counts_on_numbers(trainer: Trainer) -> bool:
    """Whether operations are counted while a few problems are computed, rather than on shapes alone.

    That is sooner done for a small model, since PyTorch imports nothing for it. Of another library's model,
    an operation without a formula would be left out without a word; shapes alone refuse it.
    """
    size = sum(parameter.numel() for parameter in trainer.train_module.parameters())
    return isinstance(trainer.run.model, FromScratch) and size < _SMALL


def answer_records(evaluator: Evaluator, problems: Problems) -> list[dict[str, Any]]:
    """Answer problems freely: texts, a drawing, the true answer, the model's, the verdict."""
    task = evaluator.task
    free: Symbols = answers(evaluator, problems, evaluator.free)
    verdicts = task.score(problems, free)
    return [
        {
            "prompt": prompt,
            "answer": answer,
            "drawn": task.draw(problems, row),
            "true": symbol_texts(task, true),
            "free": symbol_texts(task, given),
            "verdict": verdicts.kinds[kind],
        }
        for row, ((prompt, answer), true, given, kind) in enumerate(
            zip(task.texts(problems), task.answers(problems), free, verdicts.kind, strict=True)
        )
    ]


def _operations(trainer: Trainer, per_sample: float, samples: int) -> dict[str, float]:
    return {
        "flops": per_sample * samples,
        "flops_per_sample": per_sample,
        "flops_per_answer": count_answer_flops(trainer),
    }


def _result(
    trainer: Trainer,
    outcome: Outcome,
    flops: float | None,
    environment: Mapping[str, Any],
    metrics: Metrics,
) -> dict[str, Any]:
    run, samples = trainer.run, trainer.progress.step * trainer.run.batch_size
    return {
        "run": run.fingerprint,
        "ended_by": outcome.reason,
        "steps": trainer.progress.step,
        "samples": samples,
        **({} if flops is None else _operations(trainer, flops, samples)),
        "parameters": sum(parameter.numel() for parameter in trainer.train_module.parameters()),
        "trained_parameters": sum(parameter.numel() for parameter in trainer.train_module.trained().values()),
        "seconds": trainer.progress.seconds,
        "training_seconds": trainer.progress.training_seconds,
        "implementation": environment["implementation"] | trainer.step_kind,
        **({"runs_at_once": trainer.runs_at_once} if trainer.runs_at_once > 1 else {}),
        "hardware": {key: environment[key] for key in ("device", "processor", "threads", "processes")},
        "chance": run.task.chance,
        **Evaluator.of(run, trainer.train_module).decoded(),
        **with_intervals(metrics),
    }
