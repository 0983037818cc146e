"""Compile a Mamba, and compare its gradients with the eager ones: `python -m tests.compiled SCAN...`."""

import sys

import torch

from unforced.models.mamba import Mamba


def main(scan):
    torch.manual_seed(0)
    model = Mamba(layers=1, width=16, scan=scan).build(20, 5)
    tokens = torch.randint(20, (4, 5))

    def loss():
        return model.logits(model.hidden(tokens)).logsumexp(-1).sum()

    eager = torch.autograd.grad(loss(), list(model.parameters()))
    compiled = torch.compile(loss, backend="aot_eager", fullgraph=True)
    for gradient, expected in zip(
        torch.autograd.grad(compiled(), list(model.parameters())), eager, strict=True
    ):
        torch.testing.assert_close(gradient, expected)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        main(name)
