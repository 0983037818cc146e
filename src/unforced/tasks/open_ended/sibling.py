"""Siblings: two children of one parent and then the parent, of a family tree that is known in weights.

    prompt  k3x9pq02zz:     answer  b17 c40 a3

        a3 ┬ b17      A = 5 parents; each has 500 left children (b) and 500 right ones (c), of its own.
           └ c40      50,000 of the 1.25 million triples train; any triple of the tree is coherent.

The parent is written last, though the two children are siblings only because of it.
Source: arXiv 2504.15266, Sec. 2 (sibling discovery), and the code of its authors, which draws its training
set without replacement: here an item of 50,000 is there twice at times (2% of them).
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Int
from pydantic import Field, model_validator

from unforced.tasks.base import Problems, Symbols, Verdicts
from unforced.tasks.open_ended.seed_strings import ROLL_THE_DICE, SeedStringTask, first_kind
from unforced.tasks.published import Source

KINDS = {
    "correct": "",
    "wrong_parent": "its children are siblings, and the parent is another's",
    "not_siblings": "its children have different parents",
    "malformed": "it is not a left child, a right child and a parent",
}
_MOST_CHILDREN = 1_000_000


class Sibling(SeedStringTask):
    """Name two children of one parent, and the parent; which child has which parent is in weights.

    Symbols: parents, left children, right children, then those of the seed string. Which children are whose
    is drawn from material_seed, in equal shares.
    """

    verdict_kinds: ClassVar[Mapping[str, str]] = KINDS

    sources: ClassVar[tuple[Source, ...]] = (ROLL_THE_DICE,)
    shown: ClassVar[tuple[Mapping[str, Any], ...]] = ({}, {"parents": 3, "children": 20})

    name: Literal["sibling"] = "sibling"
    parents: int = Field(5, ge=2, le=10_000, description="parents, A")
    children: int = Field(500, ge=1, le=100_000, description="left children of each parent, and right ones")
    material_seed: int = Field(0, ge=0, description="draws which child has which parent")

    @model_validator(mode="after")
    def _size_fits(self) -> "Sibling":
        if (count := 2 * self.parents * self.children) > _MOST_CHILDREN:
            raise ValueError(
                f"children: {self.parents} parents have {count:,} children, more than {_MOST_CHILDREN:,}; "
                "lower children or parents"
            )
        return self

    def __str__(self) -> str:
        return f"{self.topology} with seed strings of {self.seed_length}"

    @property
    def topology(self) -> str:
        """Parents, and children of either kind that each has."""
        return f"sibling({self.parents},{self.children})"

    @property
    def answer_signs(self) -> tuple[str, ...]:
        """Parents a0 ..., left children b0 ..., right children c0 ..."""
        pool = range(self.parents * self.children)
        children = (f"{side}{number}" for side in "bc" for number in pool)
        return (*(f"a{number}" for number in range(self.parents)), *children)

    @property
    def answer_words(self) -> str:
        """Two children and their parent."""
        return (
            "It names a left child, a right child of the same parent, and that parent; which child has which "
            "parent is to be learnt from other lines."
        )

    @property
    def answer_length(self) -> int:
        """Two children and the parent."""
        return 3

    @property
    def pools(self) -> Int[np.ndarray, "2 parents children"]:
        """The symbols of each parent's left children, and of its right ones."""
        return _pools(self.parents, self.children, self.material_seed)

    def draw_answers(self, rng: np.random.Generator, count: int) -> Symbols:
        """Draw a parent, and a child of each kind, uniformly."""
        parent = rng.integers(self.parents, size=count)
        child = rng.integers(self.children, size=(2, count))
        left, right = (pool[parent, each] for pool, each in zip(self.pools, child, strict=True))
        return np.stack([left, right, parent], axis=1)

    def canonical(self, answers: Symbols) -> Int[np.ndarray, "count 3"]:
        """Return answers as they are: a triple is written in one way."""
        return answers

    def score(self, problems: Problems, answers: Symbols) -> Verdicts:
        """Name what is wrong with each answer."""
        pool, parent = self.parents * self.children, answers[:, 2]
        child = answers[:, :2] - self.parents - [0, pool]
        formed = ((child >= 0) & (child < pool)).all(axis=1) & (parent >= 0) & (parent < self.parents)
        owner = _owners(self.parents, self.children, self.material_seed)
        whose = owner[[0, 1], np.clip(child, 0, pool - 1)]
        faults = {
            "malformed": ~formed,
            "not_siblings": whose[:, 0] != whose[:, 1],
            "wrong_parent": whose[:, 0] != parent,
        }
        return Verdicts(tuple(KINDS), first_kind(faults, tuple(KINDS)))

    def sketch(self, answer: Sequence[int]) -> list[str]:
        """Draw the parent, and the two children at its right."""
        signs = self.answer_signs
        left, right, parent = (signs[symbol] for symbol in answer)
        return [f"{parent} ┬ {left}", f"{'':{len(parent)}} └ {right}"]


@lru_cache(maxsize=8)
def _pools(parents: int, children: int, seed: int) -> Int[np.ndarray, "2 parents children"]:
    rng = np.random.default_rng(np.random.SeedSequence(seed))
    size = parents * children
    sides = [parents + side * size + rng.permutation(size).reshape(parents, children) for side in (0, 1)]
    return np.stack(sides)


@lru_cache(maxsize=8)
def _owners(parents: int, children: int, seed: int) -> Int[np.ndarray, "2 pool"]:
    """Return the parent of each left child, and of each right one, by their numbers."""
    size = parents * children
    owner = np.empty((2, size), dtype=np.int64)
    for side, pool in enumerate(_pools(parents, children, seed)):
        owner[side, pool - parents - side * size] = np.arange(parents)[:, None]
    return owner
