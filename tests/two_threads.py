"""Run by test_resume.py with two threads, whose pool is at work already."""

import sys
from pathlib import Path

import torch

from tests.runs import metrics, newest_weights, stop_at, tiny_run, train
from unforced.training.cpu import flushed_denormals


def flushed():
    """The share of a large tensor's numbers next to zero that a product takes to be zero."""
    return (torch.full((1 << 21,), 1e-30) * 1e-10 == 0).double().mean().item()


def main(folder):
    shares = [flushed()]
    with flushed_denormals():
        shares.append(flushed())
        with flushed_denormals():
            shares.append(flushed())
        shares.append(flushed())  # what was before is restored, not what is usual
    shares.append(flushed())
    assert shares == [0, 1, 1, 1, 0], shares
    run = tiny_run("model.width=64", "batch_size=256", "optimizer=muon")
    train(run, folder / "straight")
    train(run, folder / "stopped", observer=stop_at(20))
    train(run, folder / "stopped", resume=True)
    assert metrics(folder / "stopped") == metrics(folder / "straight")
    assert newest_weights(folder / "stopped") == newest_weights(folder / "straight")
    assert torch.get_num_threads() == 2
    assert flushed() == 0


if __name__ == "__main__":
    main(Path(sys.argv[1]))
