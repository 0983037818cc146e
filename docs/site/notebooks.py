"""Turns a notebook, as it was run, into a page."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def as_markdown(path: Path) -> str:
    """Return cells and outputs as a wide page in Markdown. Pictures become data URIs."""
    cells = json.loads(path.read_text())["cells"]
    return "\n\n".join(["---\nhide: [toc]\n---", *(part for cell in cells for part in _parts(cell))])


def _parts(cell: Mapping[str, Any]) -> Iterator[str]:
    text = "".join(cell["source"])
    if cell["cell_type"] == "markdown":
        yield text
        return
    yield f"```python\n{text}\n```"
    for output in cell.get("outputs", []):
        yield from _output(output)


def _output(output: Mapping[str, Any]) -> Iterator[str]:
    if output["output_type"] == "stream":
        yield f"```text\n{''.join(output['text']).rstrip()}\n```"
        return
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items()}
    if "image/svg+xml" in data:
        yield f'<div class="output">{data["image/svg+xml"]}</div>'
    elif "image/png" in data:
        yield f'<img alt="figure" src="data:image/png;base64,{data["image/png"].strip()}">'
    elif "text/html" in data:
        lines = (line for line in data["text/html"].splitlines() if line.strip())  # a blank line ends HTML
        yield '<div class="output">' + "\n".join(lines) + "</div>"
    elif "text/plain" in data:
        yield f"```text\n{data['text/plain']}\n```"
