"""Mining a corpus that is in shards, each in an actor of Ray.

An actor prepares its shard once, as a bank. The lists of the shards are merged where the call is made: they are the
lists of one process that has the whole corpus, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import ray
from numpy.typing import ArrayLike, NDArray

import hardneg

__all__ = ["Mined", "ShardedCorpus", "mine"]


class Mined(NamedTuple):
    """The closest candidates of m queries, as hardneg.mine returns them: indices are those of the whole corpus."""

    indices: NDArray[np.int64]
    similarities: NDArray[np.float32]
    counts: NDArray[np.int64]


# Ray starts an actor that died again, with the same rows, and repeats the calls that it had not answered.
@ray.remote(max_restarts=-1, max_task_retries=-1)
class _Shard:
    """The bank of one shard."""

    def __init__(self, rows: NDArray[np.float32], threads: int) -> None:
        self.rows, self.threads = np.asarray(rows, np.float32), threads
        self.bank = hardneg.Bank(self.rows, threads=threads)

    def shape(self) -> tuple[int, int]:
        return self.rows.shape[0], self.rows.shape[1]

    def positive_similarities(self, queries: NDArray[np.float32], pairs: NDArray[np.int64]) -> NDArray[np.float32]:
        """The smallest similarity of each query with its positives in the shard, NaN where it has none here."""
        smallest = np.full(len(queries), np.inf, np.float32)
        if len(pairs):
            own, rows = queries[pairs[:, 0]], self.rows[pairs[:, 1]]
            similarities = hardneg.triplet_loss(own, rows, candidates=self.rows[:1]).positive
            np.minimum.at(smallest, pairs[:, 0], similarities)
        return np.where(np.isinf(smallest), np.float32(np.nan), smallest)

    def mine(self, queries, k, positives, similarities, options) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        k = min(k, len(self.rows))
        mined = self.bank._mine_shard(queries, k, positives, similarities, threads=self.threads, **options)
        return mined.indices, mined.similarities

    def process(self) -> int:
        """The process of the actor."""
        import os

        return os.getpid()


class ShardedCorpus:
    """A corpus in shards, to be mined any number of times.

    Args:
        shards: Arrays (n_s, dim), or references to such arrays in Ray's store, for each shard. A shard may be empty.
            The index of a row is that in all shards one after the other.
        threads: How many threads each actor may use.

    Ray must have been initialised, or is here. The actors live as long as this object, or until `close`.
    """

    def __init__(self, shards: Sequence[Any], *, threads: int = 1) -> None:
        if len(shards) == 0:
            raise ValueError("corpus_shards: no shards")
        if not ray.is_initialized():
            ray.init()
        references = [shard if isinstance(shard, ray.ObjectRef) else ray.put(_rows(shard)) for shard in shards]
        # Actors hold no CPU while they wait, so that there may be more shards than CPUs. The references keep the rows in the store for an actor that is started again.
        self._references = references
        self.actors = [_Shard.remote(reference, threads) for reference in references]
        shapes = ray.get([actor.shape.remote() for actor in self.actors])
        if len({dim for _, dim in shapes}) != 1:
            raise ValueError(f"corpus_shards: rows of different lengths, {sorted({dim for _, dim in shapes})}")
        self.dim = shapes[0][1]
        self._ends = np.cumsum([count for count, _ in shapes])
        if len(self) == 0:
            raise ValueError("candidates: no rows")

    def __len__(self) -> int:
        return int(self._ends[-1])

    def close(self) -> None:
        """Ends the actors."""
        for actor in self.actors:
            ray.kill(actor)
        self.actors, self._references = [], []

    def mine(
        self,
        queries: ArrayLike,
        k: int = 10,
        *,
        positives: Any = "paired",
        skip: int = 0,
        exclude: Any = None,
        query_labels: ArrayLike | None = None,
        corpus_labels: ArrayLike | None = None,
        **options: Any,
    ) -> Mined:
        """The k most similar rows of the corpus that qualify, for each query.

        The arguments are those of hardneg.mine, but for `distinct`, `threads` and `progress`.
        """
        unknown = options.keys() - {
            "negatives", "absolute_margin", "relative_margin", "max_similarity", "min_similarity"
        }  # fmt: skip
        if unknown:
            raise TypeError(f"mine() got an unexpected keyword argument {sorted(unknown)[0]!r}")
        if k < 1 or skip < 0:
            raise ValueError("k is 0" if k == 0 else f"k and skip: expected at least 1 and 0, got {k} and {skip}")
        if (query_labels is None) != (corpus_labels is None):
            raise ValueError("query_labels and corpus_labels: expected both or none")
        rows = _rows(queries)
        known = self._of_shards(_pairs("positives", positives, len(rows), len(self)))
        excluded = self._of_shards(_pairs("exclude", exclude, len(rows), len(self)))
        store = ray.put(rows)
        asked = [
            actor.positive_similarities.remote(store, pairs) for actor, pairs in self._present(known) if len(pairs)
        ]
        smallest = np.fmin.reduce([np.full(len(rows), np.nan, np.float32), *ray.get(asked)])
        labels = self._labels(query_labels, corpus_labels)
        lists = []
        for (actor, pairs), (_, others), own_labels in zip(
            self._present(known), self._present(excluded), self._filled(labels)
        ):
            own = {**options, "exclude": others if len(others) else None, **own_labels}
            lists.append(actor.mine.remote(store, k + skip, pairs, smallest, own))
        return _merge(ray.get(lists), self._filled(self._ends - self._counts()), k, skip)

    def _counts(self) -> NDArray[np.int64]:
        return np.diff(self._ends, prepend=0)

    def _filled(self, of_shards: Sequence[Any]) -> list[Any]:
        """Of something that each shard has, what those have that are not empty."""
        return [own for own, count in zip(of_shards, self._counts()) if count]

    def _present(self, of_shards: Sequence[Any]) -> list[tuple[Any, Any]]:
        return list(zip(self._filled(self.actors), self._filled(of_shards)))

    def _of_shards(self, pairs: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Pairs of queries and rows of the corpus as those of each shard, whose rows count from 0."""
        shard = np.searchsorted(self._ends, pairs[:, 1], side="right")
        starts = self._ends - self._counts()
        return [pairs[shard == number] - [0, start] for number, start in enumerate(starts)]

    def _labels(self, query_labels: ArrayLike | None, corpus_labels: ArrayLike | None) -> list[dict[str, Any]]:
        if corpus_labels is None:
            return [{} for _ in self.actors]
        labels = np.asarray(corpus_labels)
        if len(labels) != len(self):
            raise ValueError(f"labels of the candidates: expected {len(self)} elements, got {len(labels)}")
        parts = np.split(labels, self._ends[:-1])
        return [{"query_labels": query_labels, "corpus_labels": part} for part in parts]


def mine(queries: ArrayLike, corpus_shards: Sequence[Any], k: int = 10, *, threads: int = 1, **options: Any) -> Mined:
    """The k most similar rows that qualify of a corpus in shards, for each query.

    `corpus_shards` and `threads` are those of ShardedCorpus; the other arguments are those of its method `mine`. To mine
    several times, keep a ShardedCorpus.
    """
    corpus = ShardedCorpus(corpus_shards, threads=threads)
    try:
        return corpus.mine(queries, k, **options)
    finally:
        corpus.close()


def _rows(rows: ArrayLike) -> NDArray[np.float32]:
    array = np.asarray(rows)
    if array.dtype.kind not in "fiub":
        raise TypeError(f"expected numbers, got {array.dtype}")
    if array.ndim != 2:
        raise ValueError(f"expected an array of two dimensions, got shape {array.shape}")
    return np.ascontiguousarray(array, np.float32)


def _pairs(name: str, lists: Any, rows: int, candidates: int) -> NDArray[np.int64]:
    """Pairs (query, candidate), from any of the forms that hardneg.mine takes."""
    if lists is None:
        return np.empty((0, 2), np.int64)
    if isinstance(lists, str):
        if lists != "paired" or name != "positives":
            raise ValueError(f'{name}: expected "paired", pairs, lists or None, got "{lists}"')
        pairs = np.repeat(np.arange(rows), 2).reshape(rows, 2)
    elif hasattr(lists, "ndim"):
        array = np.asarray(lists)
        pairs = np.stack([np.arange(rows), array], axis=1) if array.ndim == 1 else array
    elif len(lists) and isinstance(lists[0], tuple):
        pairs = np.asarray(lists)
    else:
        if len(lists) != rows:
            raise ValueError(f"{name}: expected a list for each of {rows} rows, got {len(lists)}")
        found = [(row, int(index)) for row, own in enumerate(lists) for index in np.atleast_1d(own)]
        pairs = np.array(found, np.int64).reshape(-1, 2)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (pairs.size and pairs.dtype.kind not in "iu"):
        raise TypeError(f"{name}: expected pairs or a list for each row")
    _check_range(name, pairs, rows, candidates)
    return pairs.astype(np.int64)


def _check_range(name: str, pairs: NDArray[Any], rows: int, candidates: int) -> None:
    outside = (pairs < 0) | (pairs >= [rows, candidates])
    if outside.any():
        row, index = pairs[outside.any(axis=1)][0]
        raise ValueError(
            f"{name}: row {row}, candidate {index}, but there are {rows} rows and {candidates} candidates"
        )


def _merge(lists: Sequence[Any], starts: Sequence[int], k: int, skip: int) -> Mined:
    """The lists of the shards as one: the most similar first, the lower index first on a tie."""
    indices = np.concatenate([np.where(own < 0, -1, own + start) for (own, _), start in zip(lists, starts)], axis=1)
    similarities = np.concatenate([own for _, own in lists], axis=1)
    # What is absent is NaN, and stands last.
    order = np.lexsort((indices, -similarities))[:, skip : skip + k]
    found = np.take_along_axis(indices, order, 1), np.take_along_axis(similarities, order, 1)
    places = np.full((len(indices), k), -1, np.int64), np.full((len(indices), k), np.nan, np.float32)
    for place, own in zip(places, found):
        place[:, : own.shape[1]] = own
    return Mined(*places, (places[0] >= 0).sum(axis=1))
