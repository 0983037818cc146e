"""Run by test_resume.py: prints how many MiB the memory's peak grows by while a checkpoint is written."""

import resource
import sys
from pathlib import Path

import torch

from tests.runs import tiny_run
from unforced.training.checkpoint import TrainState, save_checkpoint
from unforced.training.optimizer import build_optimizer
from unforced.training.train_module import build_train_module


def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main(folder):
    run = tiny_run("model.layers=4", "model.width=512")
    train_module = build_train_module(run)
    optimizer = build_optimizer(run, train_module)
    for parameter in train_module.parameters():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    optimizer.zero_grad()
    before = peak()
    save_checkpoint(folder, run, train_module, optimizer, TrainState(1, 0.0))
    print(peak() - before)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
