"""NumPy, the way the course's lab writes the loss: the matrix of all similarities, and masks over it."""

import numpy as np

from contenders.answer import Answer, any_closest
from contenders.batch import Batch
from contenders.job import FORWARD, PRODUCT, Job


def version() -> str:
    """NumPy's version, and what multiplies its matrices."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"NumPy {np.__version__} ({blas['name']} {blas['version']})"


def jobs(batch: Batch, threads: int) -> dict[str, Job]:
    """The forward pass, and its product alone. The environment has set the threads."""
    del threads
    anchors, positives = batch.load()
    margin = np.float32(batch.margin)
    rows, columns = normalised(anchors), normalised(positives).T
    scores = np.empty((len(anchors), len(positives)), np.float32)
    return {
        FORWARD: Job(
            run=lambda: losses(anchors, positives, margin).sum(),
            answer=lambda: Answer(losses(anchors, positives, margin), closest(anchors, positives)),
        ),
        PRODUCT: Job(
            run=lambda: np.matmul(rows, columns, out=scores),
            answer=lambda: any_closest(np.matmul(rows, columns, out=scores).copy()),
        ),
    }


def losses(anchors: np.ndarray, positives: np.ndarray, margin: np.float32) -> np.ndarray:
    """The loss of every row."""
    scores = similarities(anchors, positives)
    positive = scores.diagonal()
    others = scores * (1 - np.eye(*scores.shape, dtype=np.float32))
    mean_negative = others.sum(axis=1) / np.float32(scores.shape[1] - 1)
    closest_negative = masked(scores).max(axis=1)
    mean_term = np.maximum(mean_negative - positive + margin, 0)
    closest_term = np.maximum(closest_negative - positive + margin, 0)
    return mean_term + closest_term


def similarities(anchors: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """Cosines of every anchor and every positive."""
    return normalised(anchors) @ normalised(positives).T


def normalised(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)


def masked(scores: np.ndarray) -> np.ndarray:
    """Similarities of the negatives that are at most as similar as the positive; all others are far below -1."""
    negative_without_positive = scores - 2 * np.eye(*scores.shape, dtype=np.float32)
    qualifies = scores <= scores.diagonal()[:, np.newaxis]
    return np.where(qualifies, negative_without_positive, np.float32(-2))


def closest(anchors: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The index of every row's closest negative, or -1."""
    candidates = masked(similarities(anchors, positives))
    index = candidates.argmax(axis=1)
    rows = np.arange(len(candidates))
    return np.where((index == rows) | (candidates[rows, index] <= -2), -1, index)
