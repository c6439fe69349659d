"""What a contender computes, and whether it is what the crate computes.

Single precision cannot tell every pair of similarities apart: where two of them are nearly equal, another program may
take another closest negative. Such rows are counted, after double precision has confirmed that they are a near tie.
All other rows must agree.
"""

from dataclasses import dataclass

import numpy as np

from contenders.batch import Batch

# The largest difference, as a share of the largest magnitude on the crate's side: of the losses of the rows, and of the
# elements of a gradient.
LOSS_TOLERANCE = 1e-5
GRADIENT_TOLERANCE = 1e-4
# Two cosines that are nearer than this are a tie to single precision: some roundings of sums of some hundred products.
NEAR = 1e-5


class Disagreement(Exception):
    """A contender computes something else: its time would say nothing."""


@dataclass(frozen=True)
class Answer:
    """Losses of the rows, indices of the closest negatives (-1: none) and gradients, as far as they are computed."""

    losses: np.ndarray | None = None
    closest: np.ndarray | None = None
    gradients: tuple[np.ndarray, np.ndarray] | None = None
    # Whether a negative that is more similar than the positive may be the closest.
    any_negative: bool = False


def any_closest(scores: np.ndarray) -> Answer:
    """What a product is good for: the most similar candidate other than the positive. Overwrites the positives."""
    np.fill_diagonal(scores, -np.inf)
    return Answer(closest=scores.argmax(axis=1), any_negative=True)


def compare(batch: Batch, ours: Answer, theirs: Answer) -> int:
    """How many rows differ for being a near tie; an error if anything differs for another reason."""
    differing = np.flatnonzero(_other_closest(ours, theirs) | _other_loss(ours, theirs))
    anchors, positives = batch.load()
    for row in differing:
        if not _near_tie(_cosines(anchors[row], positives), row, theirs.any_negative):
            raise Disagreement(f"row {row} differs, and is no near tie")
    if theirs.gradients is not None:
        _compare_gradients(ours, theirs, differing)
    return len(differing)


def _other_closest(ours: Answer, theirs: Answer) -> np.ndarray:
    return np.zeros(len(ours.closest), bool) if theirs.closest is None else ours.closest != theirs.closest


def _other_loss(ours: Answer, theirs: Answer) -> np.ndarray:
    if theirs.losses is None:
        return np.zeros(len(ours.losses), bool)
    return ~(abs(ours.losses - theirs.losses) <= LOSS_TOLERANCE * abs(ours.losses).max())


def _cosines(anchor: np.ndarray, candidates: np.ndarray) -> np.ndarray:
    """The similarities of one anchor, in double precision."""
    anchor, candidates = anchor.astype(np.float64), candidates.astype(np.float64)
    norms = np.linalg.norm(candidates, axis=1) * np.linalg.norm(anchor)
    return candidates @ anchor / np.maximum(norms, np.finfo(np.float64).tiny)


def _near_tie(cosines: np.ndarray, row: int, any_negative: bool) -> bool:
    """Whether two negatives, or a negative and the positive, are too similar to each other to be told apart."""
    positive, negatives = cosines[row], np.delete(cosines, row)
    if not any_negative:
        negatives = negatives[negatives <= positive + NEAR]
        if (negatives >= positive - NEAR).any():
            return True
    return np.count_nonzero(negatives >= negatives.max(initial=-1.0) - NEAR) > 1


def _compare_gradients(ours: Answer, theirs: Answer, differing: np.ndarray) -> None:
    """Compares the gradients of all rows that a differing row has no direct part in."""
    parts = [differing, ours.closest[differing], theirs.closest[differing]]
    candidates = np.unique(np.concatenate(parts)[np.concatenate(parts) >= 0])
    for side, touched in enumerate((differing, candidates)):
        our, their = (np.delete(answer.gradients[side], touched, axis=0) for answer in (ours, theirs))
        if not abs(our - their).max(initial=0.0) <= GRADIENT_TOLERANCE * abs(our).max(initial=0.0):
            raise Disagreement(f"the gradient by the {('anchors', 'positives')[side]} differs")
