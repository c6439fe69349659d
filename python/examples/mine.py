"""Mines three hard negatives for each sentence of the sample in examples/data, and prints the hardest few.

Usage: python python/examples/mine.py
"""

import pathlib

import numpy as np

import hardneg

data = pathlib.Path(__file__).resolve().parents[2] / "examples" / "data"
queries, passages = np.load(data / "anchors.npy"), np.load(data / "positives.npy")

# Row i of the passages belongs to query i. Passages less than 5 % below it are probably positives that nobody marked.
mined = hardneg.mine(queries, passages, k=3, relative_margin=0.05)
print(f"{mined.counts.sum()} negatives for {len(queries)} queries, computed with {hardneg.backend()}")
for query in np.argsort(-mined.similarities[:, 0])[:5]:
    found = zip(mined.indices[query], mined.similarities[query])
    print(f"query {query:3}:", ", ".join(f"passage {index} ({similarity:.4f})" for index, similarity in found))

loss = hardneg.triplet_loss(queries, passages)
print(f"loss {loss.loss:.6f}: {loss.active_mean} rows above the mean's hinge, {loss.active_closest} above the closest's")
