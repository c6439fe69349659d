"""The modified triplet loss and hard-negative mining on CPU: exact, and the same bits everywhere.

`hardneg.torch`, `hardneg.sentence_transformers` and `hardneg.ray` are imported by name; each needs its library.
"""

from hardneg._hardneg import (
    Bank,
    Mined,
    TripletLossGradients,
    TripletLossResult,
    backend,
    cosine_similarity,
    mine,
    original_triplet_loss,
    triplet_loss,
    triplet_loss_and_gradients,
)

__all__ = [
    "Bank",
    "Mined",
    "TripletLossGradients",
    "TripletLossResult",
    "backend",
    "cosine_similarity",
    "mine",
    "original_triplet_loss",
    "triplet_loss",
    "triplet_loss_and_gradients",
]
