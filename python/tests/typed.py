"""A use of everything, for mypy: nothing of it is run."""

import numpy as np
from numpy.typing import NDArray

import hardneg

rows: NDArray[np.float32] = np.zeros((4, 3), np.float32)

result: hardneg.TripletLossResult = hardneg.triplet_loss(rows, rows.tolist(), margin=0.3, negatives="any", labels=[1, 2])
loss: float = result.loss + result.mean_term + result.closest_term
counts: int = result.rows + result.active_mean + result.without_negatives
arrays: list[NDArray[np.float32]] = [result.positive, result.mean_negative, result.closest_negative]
index: NDArray[np.int64] = result.closest_index

with_gradients = hardneg.triplet_loss_and_gradients(rows, [0, 1, 2, 3], candidates=rows, reduction="mean")
gradients: NDArray[np.float32] = with_gradients.anchor_gradients
if with_gradients.candidate_gradients is not None:
    gradients = with_gradients.candidate_gradients

bank = hardneg.Bank(rows, screens=["i8", "i16"], threads=2)
bank.add(rows)
bank.replace(0, rows[1])
moved: int | None = bank.swap_remove(0)
size: int = len(bank) + bank.nbytes + bank.dim
against: hardneg.TripletLossResult = bank.triplet_loss(rows, rows, labels=([1] * 4, [2] * 7), exclude=None)

mined: hardneg.Mined = hardneg.mine(rows, rows, 2, positives=[(0, 1)], exclude=[[1], [], [], []], max_similarity=0.9)
mined = bank.mine(rows, positives=None, query_labels=[0] * 4, corpus_labels=[1] * 7, distinct=True, progress=False)
numbers: NDArray[np.int64] = np.concatenate([mined.indices.ravel(), mined.counts])
similarities: NDArray[np.float32] = mined.similarities

original: float = hardneg.original_triplet_loss(0.5, 0.4)
originals: NDArray[np.float64] = hardneg.original_triplet_loss(rows[0], rows[1], margin=0.5)
name: str = hardneg.backend()
