"""The scan in Triton, as far as it goes without a GPU: interpreted, compiled, and refused."""

import importlib.util
import os
import platform
import subprocess
import sys
import types

import pytest
import torch

from unforced.models.kernels import scan
from unforced.models.kernels.scan import BACKENDS, select_scan
from unforced.models.kernels.trial import trial

CPU, CUDA = torch.device("cpu"), torch.device("cuda")

# The extra `dev` brings triton along where it is built for; there its lack is a failure.
needs_triton = pytest.mark.skipif(
    (sys.platform, platform.machine()) != ("linux", "x86_64") and not importlib.util.find_spec("triton"),
    reason="triton is not built for this system",
)


def run(*command, interpreted):
    """Run a module of tests in a process of its own: Triton reads the setting when it is imported."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {"TRITON_INTERPRET": "1"} if interpreted else {}
    done = subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@needs_triton
def test_interpreted_it_equals_the_sequential_scan():
    plain = ["-q", "-p", "no:xdist", "-p", "no:cacheprovider", "--jaxtyping-packages="]
    assert "7 passed" in run("pytest", *plain, "tests/interpreted_scan.py", interpreted=True)


@needs_triton
def test_it_compiles_for_gpus_and_fits_into_their_registers(tmp_path, monkeypatch):
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    lines = run("tests.compiled_scan", interpreted=False).splitlines()
    assert len(lines) == 8
    assert all(int(line.split()[-3]) <= 16 for line in lines), lines  # bytes that are spilled


def test_without_a_gpu_it_is_refused_in_a_line(call, tmp_path, monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    tiny = ["model=mamba", "model.layers=1", "model.width=8", "max_steps=1"]
    code, _, errors = call(
        "train", "quickstart.next_token", *tiny, "model.scan=triton", "--out", tmp_path / "run"
    )
    assert code == 2
    (line,) = errors.strip().splitlines()
    expected = (
        "model.scan: triton needs a CUDA device and the package triton; take auto, sequential or parallel"
    )
    assert line.endswith(expected)


@pytest.mark.parametrize(
    ("installed", "works", "expected"),
    [(True, True, "triton"), (True, False, "parallel"), (False, True, "parallel")],
)
def test_it_is_selected_on_a_gpu_where_it_works(installed, works, expected, monkeypatch):
    monkeypatch.setitem(sys.modules, "mamba_ssm.ops.selective_scan_interface", None)
    stand_in = types.ModuleType("triton")
    stand_in.__spec__ = importlib.util.spec_from_loader("triton", None)
    monkeypatch.setitem(sys.modules, "triton", stand_in if installed else None)
    monkeypatch.setattr(scan, "_triton_fails", lambda device: "" if works else "does not run")
    assert select_scan(CUDA) == expected
    assert select_scan(CPU) == "sequential"


def test_it_gives_way_to_the_official_kernel(monkeypatch):
    name = "mamba_ssm.ops.selective_scan_interface"
    monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setattr(scan, "_triton_fails", lambda device: "")
    assert select_scan(CUDA) == "mamba_ssm"


def test_a_kernel_that_fails_on_a_device_or_errs_there_is_found_out():
    inputs = [torch.linspace(0.5, 2, 8), torch.linspace(1, 3, 8)]

    def product(a, b):
        return a * b, a + b

    def uncompiled(a, b):
        raise OSError("no C compiler\nis found")

    def gradient_forgotten(a, b):
        return a * b.detach() + b * 0, a + b

    assert trial(product, product, inputs, CPU) == ""
    assert trial(uncompiled, product, inputs, CPU) == "does not run on cpu (no C compiler is found)"
    assert "something else" in trial(gradient_forgotten, product, inputs, CPU)
    with torch.inference_mode():
        assert trial(product, product, inputs, CPU) == ""


def test_on_a_device_that_is_not_there_it_does_not_run():
    if not torch.cuda.is_available():
        assert "needs" in BACKENDS["triton"].lacks(torch.device("mps"))
        assert BACKENDS["triton"].lacks(CUDA)
