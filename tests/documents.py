"""Code blocks and commands of the README and of docs/, and which of them a test runs."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
RESULTS = sorted([*(ROOT / "papers").glob("*/README.md"), *(ROOT / "benchmarks").glob("*/README.md")])
_FENCE = re.compile(
    r"^(?P<indent> *)```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
_REASON = re.compile(r"<!-- not run: (?P<reason>.+?) -->\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block. reason: why no test runs it, from the comment above it; empty where a test does."""

    document: Path
    language: str
    text: str
    reason: str

    @property
    def commands(self) -> list[list[str]]:
        """The command lines of a shell block, as arguments; of a loop, its lines with seed 0."""
        if self.language != "bash" or self.reason:
            return []
        joined = self.text.replace("\\\n", " ").replace("$seed", "0")
        lines = [line.strip() for line in joined.splitlines()]
        lines = [line for line in lines if line and not re.match(r"(#|for \w+ in |do$|done$)", line)]
        return [shlex.split(line, comments=True) for line in lines]


def blocks(document: Path) -> list[Block]:
    """Return the fenced blocks of a document, in order."""
    text = document.read_text()
    found = []
    for fence in _FENCE.finditer(text):
        reason = _REASON.search(text[: fence.start()])
        body = re.sub(f"^{fence['indent']}", "", fence["text"], flags=re.MULTILINE)
        found.append(Block(document, fence["language"], body, reason["reason"] if reason else ""))
    return found


def shown_commands(document: Path) -> list[list[str]]:
    """Return the commands of a document's blocks of output: the lines that begin with `$ unforced`."""
    texts = (block.text for block in blocks(document) if block.language == "text")
    return [shlex.split(line[2:]) for text in texts for line in text.splitlines() if line.startswith("$ ")]


def without_blocks(document: Path) -> str:
    """Return the text of a document outside its fenced blocks."""
    return _FENCE.sub("", document.read_text())
