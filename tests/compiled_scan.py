"""Compile the scan's kernels for GPUs, without one: `python -m tests.compiled_scan`.

Prints a line for each: registers a thread, and the bytes of them that do not fit and are spilled to memory.
"""

import itertools
import re
import subprocess
import tempfile
from pathlib import Path

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from unforced.models.kernels import triton_scan

CAPABILITIES = (80, 90)
STATES = (16, 17)
KERNELS = {"forward": triton_scan._forward, "backward": triton_scan._backward}


def main():
    for capability, state, (name, kernel) in itertools.product(CAPABILITIES, STATES, KERNELS.items()):
        registers, spilled = used(compiled(kernel, capability, state, channels=768), capability)
        print(f"{name} sm_{capability}, {state} states: {registers} registers, {spilled} bytes spilled")


def compiled(kernel, capability, state, channels):
    """A kernel, compiled as for fp32 tensors with so many states and channels."""
    sizes = triton_scan.launch_sizes(state, channels)
    warps = sizes.pop("num_warps")
    fixed = {**sizes, "span": triton_scan._SPAN}
    names = kernel.arg_names
    types = {name: "*fp32" if name.endswith("_at") else "i32" for name in names} | dict.fromkeys(
        fixed, "constexpr"
    )
    multiples = [name for name, size in {"channels": channels, "state": state}.items() if not size % 16]
    even = [i for i, name in enumerate(names) if name.endswith("_at") or name in multiples]
    source = ASTSource(kernel, types, fixed, {(i,): [["tt.divisibility", 16]] for i in even})
    return triton.compile(source, GPUTarget("cuda", capability, 32), {"num_warps": warps})


def used(kernel, capability):
    """The registers of a thread, and the bytes that are spilled."""
    assert kernel.asm["cubin"]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "kernel.ptx"
        file.write_text(kernel.asm["ptx"])
        ptxas = triton.knobs.nvidia.ptxas.path
        command = [
            ptxas,
            "-v",
            f"--gpu-name=sm_{capability}{'a' * (capability >= 90)}",
            str(file),
            "-o",
            f"{folder}/kernel.cubin",
        ]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    (registers,) = re.findall(r"Used (\d+) registers", said)
    (stores,) = re.findall(r"(\d+) bytes spill stores", said)
    return int(registers), int(stores)


if __name__ == "__main__":
    main()
