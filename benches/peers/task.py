"""A case with the right answers, and whether a library found them.

Single precision cannot tell every pair of similarities apart: where two of them are nearly equal, another program may
take another negative. Such rows are counted, after double precision has confirmed that they are a near tie.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# The largest difference, as a share of the largest magnitude: of the losses of rows, and of the elements of a gradient.
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
# Two cosines that are nearer than this are a tie to single precision: some roundings of sums of some hundred products.
NEAR = 1e-5
MARGIN = 1.0


@dataclass(frozen=True)
class Job:
    """What is timed; and how its answers differ, or an error if they are wrong."""

    run: Callable[[], object]
    check: Callable[[], dict[str, int]]


@dataclass(frozen=True)
class Task:
    """Rows as the crate has them, where candidate i is the positive of anchor i, and the crate's answers."""

    folder: Path
    # "loss", "bank" or "mining".
    kind: str
    # Of a bank: the anchors of a call that is timed.
    count: int
    # Of mining: the length of a list, and what a candidate must not exceed.
    k: int
    rule: str
    value: float
    anchors: np.ndarray
    candidates: np.ndarray

    @staticmethod
    def load(folder: Path, request: dict) -> "Task":
        """Reads the rows; those of a bank and of a corpus have length 1."""
        rows = [np.load(folder / f"{side}.npy") for side in ("anchors", "candidates")]
        if request["open"] != "loss":
            rows = [side / np.linalg.norm(side, axis=1, keepdims=True) for side in rows]
        options = (request[key] for key in ("open", "count", "k", "rule", "value"))
        return Task(folder, *options, *rows)

    def right(self, name: str) -> np.ndarray:
        """An answer of the crate."""
        return np.load(self.folder / f"{name}.npy")

    def limit(self) -> np.ndarray:
        """Of each query, the largest similarity that qualifies."""
        positives = np.einsum("ij,ij->i", self.anchors, self.candidates[: len(self.anchors)])
        return {
            "": np.full_like(positives, np.inf),
            "absolute_margin": positives - self.value,
            "relative_margin": positives - abs(positives) * self.value,
            "max_score": np.full_like(positives, self.value),
        }[self.rule]

    def check_losses(self, losses: np.ndarray, closest: np.ndarray | None = None) -> dict[str, int]:
        """Compares the losses of the rows, and where it is known the closest negative below the positive."""
        right = self.right("losses")
        differing = ~(abs(right - losses) <= LOSS_TOLERANCE * abs(right).max())
        if closest is not None:
            differing |= self.right("closest") != closest
        for row in np.flatnonzero(differing):
            cosines = self._cosines(row)
            positive, negatives = cosines[row], np.delete(cosines, row)
            below = negatives[negatives <= positive + NEAR]
            at_positive = (below >= positive - NEAR).any()
            if not at_positive and np.count_nonzero(below >= below.max(initial=-1.0) - NEAR) < 2:
                raise AssertionError(f"row {row} differs, and is no near tie")
        return _counts({"near ties": np.count_nonzero(differing)})

    def check_closest(self, closest: np.ndarray, approximate: bool = False) -> dict[str, int]:
        """Compares the most similar candidates other than the positive."""
        right = self.right("nearest")[: len(closest)]
        ties = wrong = 0
        for row in np.flatnonzero(right != closest):
            cosines = self._cosines(row)
            near = cosines[closest[row]] >= cosines[right[row]] - NEAR
            ties, wrong = ties + near, wrong + (not near)
        if wrong and not approximate:
            raise AssertionError(f"{wrong} wrong answers")
        return _counts({"near ties": ties, "wrong answers": wrong})

    def check_gradients(self, gradients: tuple[np.ndarray, np.ndarray]) -> None:
        """Compares the rows of both gradients, but for those of near ties, which are at most one in a hundred."""
        for side, theirs in zip(("anchors", "candidates"), gradients):
            ours = self.right(f"gradient_{side}")
            far = (abs(ours - theirs) > GRADIENT_TOLERANCE * abs(ours).max()).any(axis=1)
            if np.count_nonzero(far) > len(far) / 100:
                raise AssertionError(f"the gradient by the {side} differs")

    def check_lists(self, found: np.ndarray) -> dict[str, int]:
        """Compares lists of negatives, with -1 where a query ran short of them."""
        ours, limits = self.right("found"), self.limit()
        wrong = missing = 0
        for query in np.flatnonzero((ours != found).any(axis=1)):
            our, their = (side[query][side[query] >= 0] for side in (ours, found))
            last = (self.candidates[our[-1:]].astype(np.float64) @ self.anchors[query]).min(initial=np.inf)

            def far(candidates: np.ndarray) -> int:
                similarities = self.candidates[candidates].astype(np.float64) @ self.anchors[query]
                tie = (abs(similarities - last) <= NEAR) | (abs(similarities - limits[query]) <= NEAR)
                return np.count_nonzero(~tie)

            wrong, missing = wrong + far(np.setdiff1d(their, our)), missing + far(np.setdiff1d(our, their))
        short = np.count_nonzero((found < 0).any(axis=1) & (ours >= 0).all(axis=1))
        return _counts({"short queries": short, "wrong negatives": wrong, "missing negatives": missing})

    def _cosines(self, row: int) -> np.ndarray:
        """The similarities of an anchor, in double precision."""
        anchor, candidates = self.anchors[row].astype(np.float64), self.candidates.astype(np.float64)
        norms = np.linalg.norm(candidates, axis=1) * np.linalg.norm(anchor)
        return candidates @ anchor / np.maximum(norms, np.finfo(np.float64).tiny)


def _counts(counts: dict[str, int]) -> dict[str, int]:
    return {name: int(count) for name, count in counts.items() if count}


def without_positive(scores: np.ndarray) -> np.ndarray:
    """The most similar candidate of every anchor other than its positive. Overwrites the positives."""
    np.fill_diagonal(scores, -np.inf)
    return scores.argmax(axis=1)


def second(found: np.ndarray) -> np.ndarray:
    """Of the two most similar candidates of every anchor the more similar one that is not its positive."""
    return np.where(found[:, 0] == np.arange(len(found)), found[:, 1], found[:, 0])
