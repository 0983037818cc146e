"""Models of transformers that were trained elsewhere, put behind the contracts and diagnosed."""

from unforced.evaluation.elsewhere.asking import SETTINGS, Elsewhere
from unforced.evaluation.elsewhere.format import Encoding, Format
from unforced.evaluation.elsewhere.given import Given

__all__ = ["SETTINGS", "Elsewhere", "Encoding", "Format", "Given"]
