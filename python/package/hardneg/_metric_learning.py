"""The miner for pytorch-metric-learning, which hardneg.torch offers where that library is there."""

from __future__ import annotations

from typing import Any

import torch
from pytorch_metric_learning.miners import BaseMiner

import hardneg


class HardestNegatives(BaseMiner):
    """Triplets of each anchor, each of its positives, and the negatives most similar to the anchor that qualify.

    Args:
        k: How many negatives each pair of an anchor and a positive gets.
        negatives: Which qualify: "any", or with regard to the positive "below" (semi-hard) or "at-or-below".
        threads: How many threads may be used; None for as many as PyTorch uses.
        options: Thresholds of hardneg.mine: absolute_margin, relative_margin, max_similarity, min_similarity, skip.

    Similarities are cosines, computed on the CPU. Embeddings with the label of the anchor are its positives (but for
    itself), all others its negatives. Returns indices (anchors, positives, negatives).
    """

    def __init__(self, k: int = 1, negatives: str = "any", *, threads: int | None = None, **options: Any) -> None:
        super().__init__()
        unknown = options.keys() - {"absolute_margin", "relative_margin", "max_similarity", "min_similarity", "skip"}
        if unknown:
            raise TypeError(f"HardestNegatives has no option {sorted(unknown)[0]}")
        self.k, self.negatives, self.threads, self.options = k, negatives, threads, options

    def mine(self, embeddings, labels, ref_emb, ref_labels):
        matches = labels[:, None] == ref_labels[None, :]
        if ref_emb is embeddings:
            matches.fill_diagonal_(False)
        anchors, positives = (side.cpu() for side in torch.where(matches))
        if len(anchors) == 0:
            empty = torch.empty(0, dtype=torch.int64, device=embeddings.device)
            return empty, empty, empty
        rows = embeddings.detach().to("cpu", torch.float32).numpy()
        mined = hardneg.mine(
            rows[anchors.numpy()],
            rows if ref_emb is embeddings else ref_emb.detach().to("cpu", torch.float32).numpy(),
            self.k,
            positives=positives.numpy(),
            negatives=self.negatives,
            query_labels=labels.cpu().numpy()[anchors.numpy()],
            corpus_labels=ref_labels.cpu().numpy(),
            threads=self.threads or torch.get_num_threads(),
            **self.options,
        )
        found = torch.from_numpy(mined.indices)
        pair, place = torch.where(found >= 0)
        triplets = anchors[pair], positives[pair], found[pair, place]
        return tuple(side.to(embeddings.device) for side in triplets)
