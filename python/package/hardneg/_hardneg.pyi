from collections.abc import Sequence
from typing import Any, Literal, final, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

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

_Rule = Literal["below", "at-or-below", "at_or_below", "any"]
_Reduction = Literal["sum", "mean"]
_Screen = Literal["auto", "f32", "i16", "i8", "off"]
_Lists = ArrayLike | Sequence[tuple[int, int]] | Sequence[ArrayLike]

class TripletLossResult:
    @property
    def loss(self) -> float: ...
    @property
    def mean_term(self) -> float: ...
    @property
    def closest_term(self) -> float: ...
    @property
    def rows(self) -> int: ...
    @property
    def active_mean(self) -> int: ...
    @property
    def active_closest(self) -> int: ...
    @property
    def without_closest_negative(self) -> int: ...
    @property
    def without_negatives(self) -> int: ...
    @property
    def zero_anchors(self) -> int | None: ...
    @property
    def zero_candidates(self) -> int | None: ...
    @property
    def zero_positives(self) -> int | None: ...
    @property
    def positive(self) -> NDArray[np.float32]: ...
    @property
    def mean_negative(self) -> NDArray[np.float32]: ...
    @property
    def closest_negative(self) -> NDArray[np.float32]: ...
    @property
    def closest_index(self) -> NDArray[np.int64]: ...

@final
class TripletLossGradients(TripletLossResult):
    @property
    def anchor_gradients(self) -> NDArray[np.float32]: ...
    @property
    def positive_gradients(self) -> NDArray[np.float32] | None: ...
    @property
    def candidate_gradients(self) -> NDArray[np.float32] | None: ...

@final
class Mined:
    @property
    def indices(self) -> NDArray[np.int64]: ...
    @property
    def similarities(self) -> NDArray[np.float32]: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...

@final
class Bank:
    def __new__(
        cls, rows: ArrayLike, *, screens: _Screen | Sequence[_Screen] | None = None, threads: int = 1
    ) -> Bank: ...
    def __len__(self) -> int: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def dim(self) -> int: ...
    def add(self, rows: ArrayLike) -> None: ...
    def replace(self, index: int, row: ArrayLike) -> None: ...
    def swap_remove(self, index: int) -> int | None: ...
    def triplet_loss(
        self,
        anchors: ArrayLike,
        positives: ArrayLike,
        *,
        margin: float = 0.25,
        negatives: _Rule = "below",
        reduction: _Reduction = "sum",
        labels: tuple[ArrayLike, ArrayLike] | None = None,
        exclude: _Lists | None = None,
        threads: int = 1,
    ) -> TripletLossResult: ...
    def mine(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        positives: Literal["paired"] | _Lists | None = "paired",
        negatives: _Rule = "any",
        absolute_margin: float | None = None,
        relative_margin: float | None = None,
        max_similarity: float | None = None,
        min_similarity: float | None = None,
        skip: int = 0,
        exclude: _Lists | None = None,
        query_labels: ArrayLike | None = None,
        corpus_labels: ArrayLike | None = None,
        distinct: bool = False,
        threads: int = 1,
        progress: bool = False,
    ) -> Mined: ...

def triplet_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    *,
    candidates: ArrayLike | None = None,
    margin: float = 0.25,
    negatives: _Rule = "below",
    reduction: _Reduction = "sum",
    labels: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    exclude: _Lists | None = None,
    threads: int = 1,
) -> TripletLossResult: ...
def triplet_loss_and_gradients(
    anchors: ArrayLike,
    positives: ArrayLike,
    *,
    candidates: ArrayLike | None = None,
    margin: float = 0.25,
    negatives: _Rule = "below",
    reduction: _Reduction = "sum",
    labels: ArrayLike | tuple[ArrayLike, ArrayLike] | None = None,
    exclude: _Lists | None = None,
    threads: int = 1,
) -> TripletLossGradients: ...
def mine(
    queries: ArrayLike,
    corpus: ArrayLike,
    k: int = 10,
    *,
    positives: Literal["paired"] | _Lists | None = "paired",
    negatives: _Rule = "any",
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    max_similarity: float | None = None,
    min_similarity: float | None = None,
    skip: int = 0,
    exclude: _Lists | None = None,
    query_labels: ArrayLike | None = None,
    corpus_labels: ArrayLike | None = None,
    distinct: bool = False,
    threads: int = 1,
    progress: bool = False,
) -> Mined: ...
def cosine_similarity(a: ArrayLike, b: ArrayLike) -> Any: ...
@overload
def original_triplet_loss(positive: float, negative: float, margin: float = 0.25) -> float: ...
@overload
def original_triplet_loss(
    positive: ArrayLike, negative: ArrayLike, margin: float = 0.25
) -> NDArray[np.float64]: ...
def backend() -> str: ...
