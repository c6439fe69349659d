"""Two files of embeddings: row i of the anchors belongs to row i of the positives, of which there may be more."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

# Noise of this size on standard normal anchors makes a cosine of 0.8 between an anchor and its positive.
NOISE = 0.75


@dataclass(frozen=True)
class Batch:
    """What every contender reads; `margin` is that of the loss."""

    anchors: Path
    positives: Path
    margin: float

    def load(self) -> tuple[np.ndarray, np.ndarray]:
        """Both arrays, as the crate takes them: `f32` in C order."""
        return np.load(self.anchors), np.load(self.positives)

    def sizes(self) -> dict[str, int]:
        """Rows and elements of a row; an error where an anchor has no positive."""
        anchors, positives = (np.load(path, mmap_mode="r") for path in (self.anchors, self.positives))
        is_f32 = anchors.dtype == positives.dtype == np.dtype("<f4")
        if not is_f32 or anchors.ndim != 2 or positives.ndim != 2 or anchors.shape[1] != positives.shape[1]:
            raise ValueError(f"{self.anchors} and {self.positives} must be 2-D arrays of f32 with rows of one length")
        if not 1 <= len(anchors) <= len(positives) or len(positives) == 1:
            raise ValueError(f"{self.positives} must have two rows, and as many as {self.anchors}, or more")
        return {"anchors": len(anchors), "candidates": len(positives), "dim": anchors.shape[1]}


def random_batch(folder: Path, anchors: int, candidates: int, dim: int, margin: float) -> Batch:
    """Writes random rows to files."""
    files = (folder / f"{anchors}x{candidates}x{dim}_{side}.npy" for side in ("anchors", "positives"))
    batch = Batch(*files, margin)
    for path, rows in zip((batch.anchors, batch.positives), random_rows(anchors, candidates, dim)):
        np.save(path, rows)
    return batch


def random_rows(anchors: int, candidates: int, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Anchors and candidates from a normal distribution, the first candidates being the anchors with noise."""
    random = np.random.default_rng(0)
    anchors, rows = (random.standard_normal((count, dim), dtype=np.float32) for count in (anchors, candidates))
    rows[: len(anchors)] = anchors + np.float32(NOISE) * rows[: len(anchors)]
    return anchors, rows
