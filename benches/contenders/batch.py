"""Two files of embeddings: row i of the anchors belongs to row i of the positives."""

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

    def shape(self) -> tuple[int, int]:
        """Rows and elements of a row; an error where the files are no pairs."""
        anchors, positives = (np.load(path, mmap_mode="r") for path in (self.anchors, self.positives))
        is_f32 = anchors.dtype == positives.dtype == np.dtype("<f4")
        if anchors.ndim != 2 or anchors.shape != positives.shape or not is_f32:
            raise ValueError(f"{self.anchors} and {self.positives} must be 2-D arrays of f32 and of one shape")
        return anchors.shape


def random_batch(folder: Path, rows: int, dim: int, margin: float) -> Batch:
    """Writes anchors from a normal distribution, and positives which are the anchors with noise."""
    random = np.random.default_rng(0)
    anchors = random.standard_normal((rows, dim), dtype=np.float32)
    positives = anchors + np.float32(NOISE) * random.standard_normal((rows, dim), dtype=np.float32)
    batch = Batch(folder / f"{rows}x{dim}_anchors.npy", folder / f"{rows}x{dim}_positives.npy", margin)
    np.save(batch.anchors, anchors)
    np.save(batch.positives, positives)
    return batch
