"""The modified triplet loss for the trainer of sentence-transformers, and its mining of hard negatives, exact."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

import hardneg.torch  # noqa: F401 (it registers the operators)
from hardneg._hard_negatives import mine_hard_negatives

__all__ = ["ModifiedTripletLoss", "mine_hard_negatives"]


class ModifiedTripletLoss(nn.Module):
    """The modified triplet loss, for SentenceTransformerTrainer.

    Args:
        model: The SentenceTransformer that is trained.
        margin: The margin of both hinges.
        negatives: Which negatives may be the closest: "below" (less similar than the positive), "at-or-below" or "any".
        reduction: "mean" or "sum" over the anchors.
        threads: How many threads may be used; None for as many as PyTorch uses.

    The data set has the columns (anchor, positive) or (anchor, positive, negative_1, ...) and no labels are needed. The
    negatives of an anchor are all other positives of the batch and all of its further columns. The loss is computed on
    the CPU, where embeddings from another device are copied; gradients flow back. Use the sampler
    BatchSamplers.NO_DUPLICATES, so that no text of a batch is a negative of itself.
    """

    def __init__(
        self,
        model: Any,
        margin: float = 0.25,
        negatives: str = "below",
        reduction: str = "mean",
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.loss = hardneg.torch.ModifiedTripletLoss(margin, negatives, reduction, threads=threads)

    def forward(self, sentence_features: Iterable[dict[str, Tensor]], labels: Tensor | None = None) -> Tensor:
        embeddings = [self.model(features)["sentence_embedding"] for features in sentence_features]
        return self.compute_loss_from_embeddings(embeddings, labels)

    def compute_loss_from_embeddings(self, embeddings: list[Tensor], labels: Tensor | None = None) -> Tensor:
        if len(embeddings) < 2:
            raise ValueError("the data set needs an anchor and a positive column")
        device = embeddings[0].device
        anchors, positives, *negatives = (rows.cpu() for rows in embeddings)
        further = torch.cat(negatives) if negatives else None
        return self.loss(anchors, positives, further=further).to(device)

    def get_config_dict(self) -> dict[str, Any]:
        return {"margin": self.loss.margin, "negatives": self.loss.negatives, "reduction": self.loss.reduction}
