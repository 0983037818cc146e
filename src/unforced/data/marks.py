r"""Marks that people and language models put around an answer: quotes, code, brackets, mathematics, tags.

**1,7,9**    `1,7,9`    "1,7,9"    - 1,7,9    $1,7,9$    \boxed{1,7,9}    ```
<answer>1,7,9</answer>    1,7,9<|im_end|>                                1,7,9
                                                                         ```
"""

import re
from collections.abc import Sequence, Set

OPENING = ("- ", "+ ", "• ", r"\boxed{", r"\text{", r"\(", r"\[", *"*_`\"'([{$>“”„‘’‚«»‹›「『（［【")
CLOSING = (r"\)", r"\]", *"*_`\"')]}$“”‘’«»‹›」』）］】")
_TAG = re.compile(r"</?[A-Za-z_]+>|<\|[A-Za-z_]+\|>")  # <answer>, </answer>, <|im_end|>
_FENCE = re.compile(r"\s*(`{3,}|~{3,})[ \t]*[A-Za-z+#.-]*\s*")  # with the name of a language
_NOTHING: frozenset[str] = frozenset()


def behind_opening(text: str, own: Set[str] = _NOTHING) -> str:
    """Drop marks that open, and spaces, from the beginning of a line.

    own: characters of the answer itself, which are not marks.
    """
    return _without(text.lstrip(), OPENING, own, spaces=True)


def behind_closing(text: str, own: Set[str] = _NOTHING) -> str:
    """Drop marks that close from the beginning of the text behind an answer."""
    return _without(text, CLOSING, own, spaces=False)


def is_only_marks(line: str, own: Set[str] = _NOTHING) -> bool:
    """Whether a line is blank, has nothing but marks, or begins or ends a block of code."""
    fence = _FENCE.fullmatch(line)
    return not behind_opening(line, own) or (fence is not None and fence[1][0] not in own)


def _without(text: str, marks: Sequence[str], own: Set[str], spaces: bool) -> str:
    while mark := _mark_at_beginning(text, marks, own):
        text = text.removeprefix(mark)
        text = text.lstrip() if spaces else text
    return text


def _mark_at_beginning(text: str, marks: Sequence[str], own: Set[str]) -> str:
    tag = _TAG.match(text)
    found = tag[0] if tag else next((mark for mark in marks if text.startswith(mark)), "")
    return "" if own & (set("<>") if tag else set(found)) else found
