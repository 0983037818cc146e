"""What fine-tuning through `pretrained` costs, against transformers' own Trainer.

    python -m benchmarks.finetuning [dotted.key=value ...]

Both take steps of AdamW in turn, on the same problems, weights, batch size and dtype. The model is a GPT-2
of 6 layers, width 384 and 50,257 tokens with random weights, or what model.name_or_path says.
"""

import statistics
import sys
import tempfile
from collections.abc import Sequence

import torch
from transformers import AutoModelForCausalLM, GPT2Config, GPT2LMHeadModel

from tests.tokens import byte_level
from unforced.bench.contenders import OURS, their_trainer
from unforced.bench.plan import trainer_of
from unforced.bench.timing import in_turn, ratios, taker
from unforced.huggingface import import_transformers
from unforced.recipes import resolve_run
from unforced.reporting.bench import between
from unforced.tasks.path_star import PathStar
from unforced.tasks.sampling import problems
from unforced.training.cpu import keep_freed_memory
from unforced.training.loop import Trainer
from unforced.training.precision import autocast_dtype

THEIRS = "transformers' Trainer"


def main(overrides: Sequence[str], rounds: int = 7, seconds: float = 1.0) -> None:
    """Measure and print."""
    import_transformers("benchmarks.finetuning")
    keep_freed_memory()
    with tempfile.TemporaryDirectory() as folder:
        if not any(each.startswith("model.name_or_path=") for each in overrides):
            save_model(folder)
            overrides = [f"model.name_or_path={folder}", *overrides]
        ours = trainer_of(resolve_run("small_pretrained", overrides))
        takers = {OURS: taker(ours.step, ours.device)}
        takers[THEIRS] = their_trainer(ours, network_of(ours), folder)
        found = in_turn(takers, rounds, seconds, ours.device)
    run = ours.run
    print(f"{run.task}, batch {run.batch_size}, {ours.device}, {autocast_dtype(run, ours.device)}")
    for name, each in found.items():
        print(f"{name:<21} {run.batch_size / statistics.median(each):10,.1f} samples/s")
    print(f"time, ours / theirs   {between(ratios(found[OURS], found[THEIRS]), digits=2)}")


def save_model(folder: str) -> None:
    """Save a GPT-2 with random weights, and a tokenizer to which each label is one token."""
    task = PathStar()
    tokenizer = byte_level(task.lines(problems(task, 0, "train", 0, 500)), vocab_size=400)
    tokenizer.save_pretrained(folder)
    GPT2LMHeadModel(GPT2Config(n_layer=6, n_embd=384, n_head=6)).save_pretrained(folder)


def network_of(ours: Trainer) -> torch.nn.Module:
    """Return the network of transformers that our trainer trains, with weights of its own."""
    network = AutoModelForCausalLM.from_pretrained(ours.run.model.name_or_path, dtype=torch.float32)
    network.resize_token_embeddings(ours.train_module.model.vocab_size, mean_resizing=False)
    return network.train().to(ours.device)


if __name__ == "__main__":
    main(sys.argv[1:])
