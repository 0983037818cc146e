"""Which rows of own data are problems of which split; the same prompt twice is found, named, and decided.

Prompts are the same if they are so up to blanks, and to how Unicode composes their characters. What is not
asked for is refused: a prompt that two splits share, a prompt with two answers. A row that is another row of
its split again is dropped.
"""

import hashlib
import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from unforced.errors import UserError, shortened
from unforced.tasks.own_data.rows import Row, split_of

Normalise = Literal["none", "whitespace", "case", "punctuation"]
SPLITS = ("train", "validation", "test")
_OF_NUMBERS = re.compile(
    r"(?<!\w)[-\u2010-\u2014](?=\.?\d)"  # a sign
    r"|(?<=\d)[./](?=\d)|(?<![\w.])\.(?=\d)"  # a decimal point, or the stroke of a fraction
)


@dataclass(frozen=True)
class Kept:
    """The rows that are problems, the split of each, and how many were dropped for what reason."""

    rows: Sequence[Row]
    splits: Sequence[str]
    dropped: Mapping[str, int]


@dataclass(frozen=True)
class Choices:
    """What is done where rows repeat a prompt.

    held_out: the share of each held-out split, where a hash decides. test_path: the file of test problems;
    empty if there is none. files: where each file is a split as a whole, what the file of each split is
    called; None: rows or a hash decide.
    """

    normalise: Normalise
    held_out: float
    conflicts: Literal["refuse", "accept", "first"]
    overlaps: Literal["refuse", "drop"]
    test_path: str = ""
    files: Mapping[str, str] | None = None


def normalised(text: str, how: Normalise) -> str:
    """Return what an answer is compared as; each way does what those before it do, too.

    none: the text. whitespace: blanks at both ends do not count, several count as one, and characters that
    Unicode writes in two ways (NFC, NFD) are the same. case: nor does case. punctuation: nor does punctuation
    (Unicode's categories P), but for what is part of a number: a sign, a decimal point, the stroke of a
    fraction.
    """
    if how == "none":
        return text
    text = unicodedata.normalize("NFC", text)
    if how == "punctuation":
        text = _without_punctuation(text)
    text = " ".join(text.split())
    return text if how == "whitespace" else unicodedata.normalize("NFC", text.casefold())


def _without_punctuation(text: str) -> str:
    kept = {found.start() for found in _OF_NUMBERS.finditer(text)}
    return "".join(
        " " if unicodedata.category(sign).startswith("P") and place not in kept else sign
        for place, sign in enumerate(text)
    )


def prompt_key(prompt: str) -> str:
    """Return what prompts that ask the same have in common."""
    return " ".join(unicodedata.normalize("NFC", prompt).split())


def hash_of(text: str) -> int:
    """Hash text to 64 bits, the same on every machine."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def keep(rows: Sequence[Row], choices: Choices, path: str) -> Kept:
    """Put rows into splits, and decide about those that repeat a prompt. Raises UserError."""
    _check_answers(rows, choices.normalise)
    found = [split_of(row) for row in rows]
    if choices.files is None and any(found) and "train" not in found:
        raise UserError(
            f"{path}: no row names the split train; name the training rows so, or give them as task.path and "
            "this file as task.test_path; task.split_column=null splits the data by hash of the prompt"
        )
    splits = (
        _assigned(rows, found, choices.held_out)
        if choices.files is None
        else [said or "test" for said in found]
    )
    kept = _without_repeats(rows, splits, choices.normalise)
    kept = _without_conflicts(kept, choices, path)
    kept = _without_overlaps(kept, choices, path)
    for split in SPLITS if choices.files is None else choices.files:
        if split not in kept.splits and split in splits:
            raise _none_left(split, splits.count(split), choices, path)
        if split not in kept.splits:
            raise UserError(
                f"{path}: the split {split} is empty ({len(kept.rows)} rows, task.held_out="
                f"{choices.held_out:g}); give more rows, a larger task.held_out, or name it in a column"
            )
    return kept


def _none_left(split: str, number: int, choices: Choices, path: str) -> UserError:
    """Build the error for a split all of whose problems are in another one."""
    where = f"the split {split} are in another split"
    if choices.files is not None:
        path, where = choices.files[split], "it are training problems"
    elif choices.test_path and split == "test":
        path, where = choices.test_path, "task.test_path are in task.path"
    count = _counted(number, "problem", "problems")
    return UserError(f"{path}: all {count} of {where}, too, and task.overlaps=drop leaves none; give others")


def _check_answers(rows: Sequence[Row], how: Normalise) -> None:
    for row in rows:
        if not all(normalised(answer, how) for answer in row.answers):
            raise UserError(
                f"{row.place}: nothing is left of the answer {row.answers[0]!r} by task.normalise={how}; "
                "give another normalisation"
            )


def _assigned(rows: Sequence[Row], found: Sequence[str | None], held_out: float) -> list[str]:
    """Name the split of each row: what it says, or by a hash of its prompt.

    Where rows name splits, a held-out split that none of them names takes its share of the training rows.
    """
    named = {split for split in found if split is not None}
    bounds = {"validation": held_out, "test": 2 * held_out}
    open_ = {split for split in bounds if split not in named}
    splits = []
    for row, said in zip(rows, found, strict=True):
        place = hash_of(prompt_key(row.prompt)) / 2**64
        by_hash = next((split for split, bound in bounds.items() if place < bound), "train")
        splits.append(by_hash if said in (None, "train") and by_hash in open_ else said or "train")
    return splits


def _without_repeats(rows: Sequence[Row], splits: Sequence[str], how: Normalise) -> Kept:
    seen: set[object] = set()
    kept: list[int] = []
    for i, (row, split) in enumerate(zip(rows, splits, strict=True)):
        what = split, prompt_key(row.prompt), _set_of(row, how)
        if what not in seen:
            seen.add(what)
            kept.append(i)
    return Kept([rows[i] for i in kept], [splits[i] for i in kept], {"repeated": len(rows) - len(kept)})


def _without_conflicts(kept: Kept, choices: Choices, path: str) -> Kept:
    """Decide about prompts with two answers."""
    groups = _grouped(kept.rows)
    conflicts = [
        group
        for group in groups.values()
        if len({_set_of(kept.rows[i], choices.normalise) for i in group}) > 1
    ]
    if not conflicts:
        return kept
    if choices.conflicts == "refuse":
        first, second = (kept.rows[i] for i in conflicts[0][:2])
        places = _ends(first, second)
        raise UserError(
            f"{path}: {_counted(len(conflicts), 'prompt has', 'prompts have')} two or more answers, as "
            f"{_short(first.prompt)}: {_short(first.answers[0])} ({places[0]}) and "
            f"{_short(second.answers[0])} ({places[1]}); task.conflicts=accept takes all as right, "
            "task.conflicts=first the first of them"
        )
    if choices.conflicts == "first":
        later = {i for group in conflicts for i in group[1:]}
        return _dropping(kept, lambda i: i in later, "conflicting")
    rows = list(kept.rows)
    for group in conflicts:
        for i in group:  # its own reference first
            every = (answer for j in (i, *group) for answer in kept.rows[j].answers)
            rows[i] = replace(rows[i], answers=tuple(dict.fromkeys(every)))
    return replace(kept, rows=rows)


def _without_overlaps(kept: Kept, choices: Choices, path: str) -> Kept:
    """Decide about prompts that two splits share."""
    shared = [group for group in _grouped(kept.rows).values() if len({kept.splits[i] for i in group}) > 1]
    if not shared:
        return kept
    if choices.overlaps == "refuse":
        one = shared[0][0]
        other = next(i for i in shared[0] if kept.splits[i] != kept.splits[one])
        prompt, places = _short(kept.rows[one].prompt), _ends(kept.rows[one], kept.rows[other])
        counted = _counted(len(shared), "prompt is", "prompts are")
        if choices.files is not None:
            both = " and ".join(choices.files.values())
            raise UserError(
                f"{counted} in both {both}, as {prompt} in {places[0]} and {places[1]}; task.overlaps=drop "
                f"leaves them to {choices.files['train']}"
            )
        pairs = sorted({" and ".join(_in_order(kept.splits[i] for i in group)) for group in shared})
        where = [f"{_split_of(kept, i)} ({place})" for i, place in zip((one, other), places, strict=True)]
        raise UserError(
            f"{path}: {counted} in more than one split ({', '.join(pairs)}), as {prompt} in "
            f"{' and '.join(where)}; task.overlaps=drop leaves each to the first of these splits"
        )
    owner = {
        prompt_key(kept.rows[group[0]].prompt): _in_order(kept.splits[i] for i in group)[0]
        for group in shared
    }
    return _dropping(
        kept,
        lambda i: owner.get(prompt_key(kept.rows[i].prompt), kept.splits[i]) != kept.splits[i],
        "overlapping",
    )


def _split_of(kept: Kept, i: int) -> str:
    """Name the split of a row, and what the data call it where a hash decides."""
    said = split_of(kept.rows[i])
    return kept.splits[i] if said in (None, kept.splits[i]) else f"{kept.splits[i]}, by hash of {said} rows"


def _dropping(kept: Kept, drop: Callable[[int], bool], reason: str) -> Kept:
    stay = [i for i in range(len(kept.rows)) if not drop(i)]
    dropped = {**kept.dropped, reason: len(kept.rows) - len(stay)}
    return Kept([kept.rows[i] for i in stay], [kept.splits[i] for i in stay], dropped)


def _set_of(row: Row, how: Normalise) -> frozenset[str]:
    return frozenset(normalised(answer, how) for answer in row.answers)


def _grouped(rows: Sequence[Row]) -> dict[str, list[int]]:
    """Return the places of rows by prompt."""
    groups: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        groups.setdefault(prompt_key(row.prompt), []).append(i)
    return groups


def _in_order(splits: Iterable[str]) -> list[str]:
    return sorted(set(splits), key=SPLITS.index)


def _ends(first: Row, second: Row) -> tuple[str, str]:
    """Return the lines or rows of two places; with their files, if these differ."""
    files = {_file(row) for row in (first, second)}
    return (_end(first), _end(second)) if len(files) == 1 else (first.place, second.place)


def _file(row: Row) -> str:
    return row.place.removesuffix(_end(row).removeprefix("line "))


def _end(row: Row) -> str:
    """Return the line or row of a place."""
    _, colon, line = row.place.rpartition(":")
    return f"line {line}" if colon and line.isdigit() else row.place.rpartition(", ")[2]


def _short(text: str) -> str:
    return repr(shortened(text, 40))


def _counted(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"
