"""Files for the bank: anchors, and the candidates that are prepared once; candidate i belongs to anchor i."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contenders.answer import NEAR, Answer, Disagreement
from contenders.batch import random_rows

# The anchors whose answers are compared. A call that is timed has the first few of them.
QUESTIONS = 256


@dataclass(frozen=True)
class Catalogue:
    """What every contender reads; `count` is the number of anchors of a call that is timed."""

    anchors: Path
    candidates: Path
    count: int

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Both arrays with rows of length 1: nobody's time is spent on that, other than the crate's."""
        return tuple(_normalised(np.load(path)) for path in (self.anchors, self.candidates))

    def sizes(self) -> dict[str, int]:
        """The shape of a call."""
        candidates, dim = np.load(self.candidates, mmap_mode="r").shape
        return {"anchors": self.count, "candidates": candidates, "dim": dim}


def random_catalogue(folder: Path, count: int, candidates: int, dim: int) -> Catalogue:
    """Writes random rows to files."""
    catalogue = Catalogue(folder / f"{candidates}x{dim}_anchors.npy", folder / f"{candidates}x{dim}_bank.npy", count)
    if not catalogue.candidates.exists():
        anchors, rows = random_rows(QUESTIONS, candidates, dim)
        np.save(catalogue.anchors, anchors)
        np.save(catalogue.candidates, rows)
    return catalogue


def compare(catalogue: Catalogue, ours: Answer, theirs: Answer) -> tuple[int, int]:
    """How many of the anchors have another closest candidate: near ties, and wrong ones."""
    anchors, candidates = catalogue.load()
    differing = np.flatnonzero(ours.closest != theirs.closest)

    def similarities(closest: np.ndarray) -> np.ndarray:
        rows = candidates[closest[differing]].astype(np.float64)
        return (anchors[differing] * rows).sum(axis=1)

    of = [similarities(side.closest) for side in (ours, theirs)]
    if (theirs.closest[differing] == differing).any() or (of[1] > of[0] + NEAR).any():
        raise Disagreement("a positive was taken for a negative, or a candidate is more similar than the crate's")
    ties = int((of[1] >= of[0] - NEAR).sum())
    return ties, len(differing) - ties


def _normalised(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)
