"""What fine-tuning through `pretrained` costs, against transformers' own Trainer.

    python -m benchmarks.finetuning [dotted.key=value ...]

Both take steps of AdamW in turn, on the same problems, weights, batch size and dtype. The model is a GPT-2
of 6 layers, width 384 and 50,257 tokens with random weights, or what model.name_or_path says.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Sequence

import torch
from transformers import (
    AutoModelForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    TrainerCallback,
    TrainingArguments,
    logging,
)
from transformers import Trainer as TheirTrainer

from benchmarks.training import silent_trainer, timed
from tests.tokens import byte_level
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.training.cpu import keep_freed_memory
from unforced.training.loop import Trainer
from unforced.training.precision import autocast_dtype


def main(overrides: Sequence[str], warmup: int = 3, rounds: int = 15) -> None:
    """Measure and print."""
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        if not any(each.startswith("model.name_or_path=") for each in overrides):
            save_model(folder)
            overrides = [f"model.name_or_path={folder}", *overrides]
        ours = silent_trainer(["model=pretrained", "batch_size=16", "num_train=2000", *overrides])
        ours.select_kernels({})
        keep_freed_memory()
        turns = InTurn(ours)
        theirs(ours, turns, folder, warmup + rounds).train()
    ratios = [mine / other for mine, other in zip(turns.ours, turns.theirs, strict=True)][warmup:]
    run, rate = ours.run, ours.run.batch_size
    print(f"{run.task}, batch {rate}, {ours.device}, {autocast_dtype(run, ours.device)}")
    print(f"unforced              {rate / statistics.median(turns.ours[warmup:]):10,.1f} samples/s")
    print(f"transformers' Trainer {rate / statistics.median(turns.theirs[warmup:]):10,.1f} samples/s")
    spread = f"({min(ratios):.2f} to {max(ratios):.2f})"
    print(f"time, ours / theirs   {statistics.median(ratios):10.2f}   {spread}")


def save_model(folder: str) -> None:
    """Save a GPT-2 with random weights, and a tokenizer to which each label is one token."""
    task = PathStar()
    tokenizer = byte_level(task.lines(problems(task, 0, "train", 0, 500)), vocab_size=400)
    tokenizer.save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config(n_layer=6, n_embd=384, n_head=6)).save_pretrained(folder)


def theirs(ours: Trainer, turns: "InTurn", folder: str, steps: int) -> TheirTrainer:
    """Return transformers' trainer of the same model on the same problems."""
    examples = ours.source.examples
    assert examples.prompt_mask is None
    ids = torch.cat([examples.prompt, examples.answer], dim=1)
    labels = ids.clone()
    labels[:, : examples.prompt.shape[1]] = -100
    real = torch.ones_like(ids)
    if examples.answer_mask is not None:
        labels[:, examples.prompt.shape[1] :][~examples.answer_mask] = -100
    columns = ("input_ids", "labels", "attention_mask")
    rows = [dict(zip(columns, row, strict=True)) for row in zip(ids, labels, real, strict=True)]
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=ours.run.batch_size,
        learning_rate=ours.run.learning_rate,
        optim="adamw_torch_fused",
        bf16=autocast_dtype(ours.run, ours.device) == torch.bfloat16,
        use_cpu=ours.device.type == "cpu",
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        disable_tqdm=True,
    )
    model = AutoModelForCausalLM.from_pretrained(ours.run.model.name_or_path, dtype=torch.float32)
    model.resize_token_embeddings(ours.train_module.model.vocab_size, mean_resizing=False)
    return TheirTrainer(model=model, args=arguments, train_dataset=rows, callbacks=[turns])


class InTurn(TrainerCallback):
    """After each of their steps, takes one of ours; notes how long each took."""

    def __init__(self, trainer: Trainer) -> None:
        self.trainer = trainer
        self.ours: list[float] = []
        self.theirs: list[float] = []
        self.begun = 0.0

    def on_train_begin(self, *_: object, **__: object) -> None:
        """Start the clock."""
        self.begun = time.perf_counter()

    def on_step_end(self, *_: object, **__: object) -> None:
        """Stop it, take our step, and start it again."""
        self.theirs.append(time.perf_counter() - self.begun)
        self.ours.append(timed(self.trainer.step, self.trainer.device))
        self.begun = time.perf_counter()


if __name__ == "__main__":
    main(sys.argv[1:])
