"""`mine_hard_negatives` with the signature and the outputs of sentence-transformers, exact."""

from __future__ import annotations

import hashlib
import logging
import os
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

import hardneg

if TYPE_CHECKING:
    from datasets import Dataset

logger = logging.getLogger(__name__)

FORMATS = ("triplet", "n-tuple", "labeled-pair", "labeled-list")


def mine_hard_negatives(
    dataset: Dataset,
    model: Any,
    anchor_column_name: str | None = None,
    positive_column_name: str | None = None,
    corpus: list[str] | None = None,
    cross_encoder: Any | None = None,
    range_min: int = 0,
    range_max: int | None = None,
    max_score: float | None = None,
    min_score: float | None = None,
    absolute_margin: float | None = None,
    relative_margin: float | None = None,
    num_negatives: int = 3,
    sampling_strategy: Literal["random", "top"] = "top",
    query_prompt_name: str | None = None,
    query_prompt: str | None = None,
    corpus_prompt_name: str | None = None,
    corpus_prompt: str | None = None,
    include_positives: bool = False,
    output_format: Literal["triplet", "n-tuple", "labeled-pair", "labeled-list"] = "triplet",
    output_scores: bool = False,
    batch_size: int = 32,
    faiss_batch_size: int = 16384,
    use_faiss: bool = False,
    use_multi_process: list[str] | bool = False,
    verbose: bool = True,
    cache_folder: str | None = None,
    as_triplets: bool | None = None,
    margin: float | None = None,
    *,
    seed: int | None = None,
    threads: int | None = None,
) -> Dataset:
    """Adds hard negatives to a data set of (anchor, positive) pairs.

    The arguments and the data sets that are returned are those of sentence_transformers.util.mine_hard_negatives, with
    these differences:

    - Every text of the corpus is looked at. The library filters a pool of the most similar ones, and anchors whose pool
      runs short get fewer negatives; here they get all that qualify.
    - `range_min` and `range_max` count the texts that qualify. With "top", `range_max` is not needed; with "random", it
      is the number of qualifying texts that are sampled from, by default as many as the library takes.
    - Comparisons are made on similarities that are exact to the last bit, so that texts which the library cannot tell
      apart may have another order.
    - `seed` makes "random" repeatable. `threads` is how many threads may be used, None for as many as PyTorch uses.
    - `use_faiss` and `faiss_batch_size` change nothing.
    - With `cross_encoder`, or with `include_positives` and a threshold, the library's own function is called.
    """
    arguments = {name: value for name, value in locals().items() if name not in ("seed", "threads")}
    if as_triplets is not None:
        output_format = "triplet" if as_triplets else "n-tuple"
    if output_format == "n-tuple-scores":
        output_format, output_scores = "n-tuple", True
    absolute_margin = margin if margin is not None else absolute_margin
    thresholds = (max_score, min_score, absolute_margin, relative_margin)
    has_thresholds = any(threshold is not None for threshold in thresholds)
    if cross_encoder is not None or (include_positives and has_thresholds):
        return _by_the_library(arguments, seed)
    if include_positives:
        output_format = "n-tuple"
    _check(dataset, model, output_format, sampling_strategy, num_negatives, range_min, range_max)

    pairs = _Pairs.of(dataset, anchor_column_name, positive_column_name, corpus)
    prompts = (query_prompt, query_prompt_name), (corpus_prompt, corpus_prompt_name)
    queries, rows = _embed(model, pairs, prompts, batch_size, use_multi_process, cache_folder, verbose)
    most = max(map(len, pairs.positives))
    if range_max is None:
        range_max = range_min + num_negatives * (10 if has_thresholds else 1) + most
    window = num_negatives if sampling_strategy == "top" else range_max - range_min
    if num_negatives > range_max - range_min:
        raise ValueError(f"num_negatives={num_negatives} do not fit between range_min and range_max={range_max}")
    mined = hardneg.mine(
        queries,
        rows,
        window,
        positives=None if include_positives else pairs.positives,
        absolute_margin=absolute_margin,
        relative_margin=relative_margin,
        max_similarity=max_score,
        min_similarity=min_score,
        skip=range_min,
        threads=threads or _threads_of_torch(),
        progress=verbose,
    )
    lists = [_of_query(mined, query) for query in range(len(queries))]
    if sampling_strategy == "random":
        lists = _sample(lists, num_negatives, seed)
    found = _Found(pairs, _positive_scores(pairs, queries, rows), lists, num_negatives)
    data = found.columns(output_format, output_scores)
    if verbose:
        found.report()
    from datasets import Dataset

    return Dataset.from_dict(data)


def _by_the_library(arguments: dict[str, Any], seed: int | None) -> Any:
    from sentence_transformers.util import mine_hard_negatives as of_the_library

    logger.warning(
        "A cross-encoder, and positives together with thresholds, are left to sentence-transformers: "
        "it filters a pool of the most similar texts"
    )
    state = random.getstate()
    try:
        if seed is not None:
            random.seed(seed)
        return of_the_library(**arguments)
    finally:
        if seed is not None:
            random.setstate(state)


def _check(dataset, model, output_format, sampling_strategy, num_negatives, range_min, range_max) -> None:
    if len(dataset) == 0:
        raise ValueError("The dataset is empty. Please provide a non-empty dataset.")
    if output_format not in FORMATS:
        raise ValueError(f"Invalid output_format: {output_format}. Must be one of {', '.join(FORMATS)}.")
    if sampling_strategy not in ("top", "random"):
        raise ValueError(f"sampling_strategy: expected top or random, got {sampling_strategy}")
    if num_negatives < 1:
        raise ValueError(f"num_negatives must be at least 1, got num_negatives={num_negatives}.")
    if range_min < 0:
        raise ValueError(f"range_min must be non-negative, got range_min={range_min}.")
    if range_max is not None and range_min >= range_max:
        raise ValueError(f"range_min must be smaller than range_max, got {range_min} and {range_max}.")
    function = getattr(model, "similarity_fn_name", None)
    if function not in (None, "cosine", "dot"):
        # Rows are normalised, so that the dot product is the cosine.
        raise ValueError(f"hardneg computes cosine similarities, and the model asks for {function}")


@dataclass
class _Pairs:
    """The texts of a data set, each once, and which belong together."""

    columns: tuple[str, str]
    queries: list[str]
    corpus: list[str]
    #: For each query the indices of its positives in the corpus, each once, in the order of the data set.
    positives: list[list[int]]

    @staticmethod
    def of(dataset: Any, anchor: str | None, positive: str | None, corpus: list[str] | None) -> _Pairs:
        names = dataset.column_names
        anchor = anchor if anchor in names else names[0]
        if positive not in names:
            if len(names) < 2:
                message = "Dataset must contain at least two columns to select the positive column automatically."
                raise ValueError(message)
            positive = names[1]
        queries, positives = list(dataset[anchor]), list(dataset[positive])
        texts = list(dict.fromkeys((corpus or []) + positives))
        place = {text: index for index, text in enumerate(texts)}
        known: dict[str, dict[int, None]] = {}
        for query, text in zip(queries, positives):
            known.setdefault(query, {})[place[text]] = None
        return _Pairs((anchor, positive), list(known), texts, [list(indices) for indices in known.values()])


def _embed(model, pairs, prompts, batch_size, use_multi_process, cache_folder, verbose):
    """The embeddings of the queries and of the corpus, from the cache if they are there."""
    pool = None
    if use_multi_process:
        devices = None if isinstance(use_multi_process, bool) else use_multi_process
        pool = model.start_multi_process_pool(target_devices=devices)
    try:
        results = []
        for name, texts, (prompt, prompt_name) in zip(("query", "corpus"), (pairs.queries, pairs.corpus), prompts):
            path = _cache_file(model, cache_folder, name, texts, prompt, prompt_name)
            if path is not None and os.path.exists(path):
                results.append(np.load(path))
                continue
            encode = getattr(model, "encode_query" if name == "query" else "encode_document", model.encode)
            rows = encode(
                texts,
                prompt=prompt,
                prompt_name=prompt_name,
                batch_size=batch_size,
                normalize_embeddings=True,
                convert_to_numpy=True,
                show_progress_bar=verbose,
                **({} if pool is None else {"pool": pool}),
            )
            if path is not None:
                np.save(path, rows)
            results.append(rows)
        return results
    finally:
        if pool is not None:
            model.stop_multi_process_pool(pool)


def _cache_file(model, folder, name, texts, prompt, prompt_name):
    """The file that the library keeps these embeddings in."""
    if not folder:
        return None
    os.makedirs(folder, exist_ok=True)
    key = repr((model.model_card_data.base_model or "", prompt, prompt_name, texts)).encode()
    return os.path.join(folder, f"{name}_embeddings_{hashlib.sha256(key, usedforsecurity=False).hexdigest()}.npy")


def _threads_of_torch() -> int:
    import torch

    return torch.get_num_threads()


def _of_query(mined, query):
    count = mined.counts[query]
    return list(zip(mined.indices[query, :count].tolist(), mined.similarities[query, :count].tolist()))


def _sample(lists, count, seed):
    """So many of each list, in its order."""
    generator = random if seed is None else random.Random(seed)
    places = [sorted(generator.sample(range(len(found)), min(count, len(found)))) for found in lists]
    return [[found[place] for place in chosen] for found, chosen in zip(lists, places)]


def _positive_scores(pairs, queries, rows):
    """For each query the similarities of its positives."""
    owners = [query for query, indices in enumerate(pairs.positives) for _ in indices]
    indices = [index for indices in pairs.positives for index in indices]
    scores = hardneg.triplet_loss(queries[owners], rows[indices], candidates=rows[:1]).positive
    ends = np.cumsum([len(indices) for indices in pairs.positives])
    return [part.tolist() for part in np.split(scores, ends[:-1])]


@dataclass
class _Found:
    """What was mined, and the data sets that are made of it."""

    pairs: _Pairs
    positive_scores: list[list[float]]
    #: For each query its negatives: (index in the corpus, similarity).
    lists: list[list[tuple[int, float]]]
    count: int

    def _rows(self):
        """Each query with each of its positives: texts, the positive's similarity, and the negatives."""
        for query, positives, scores, found in zip(
            self.pairs.queries, self.pairs.positives, self.positive_scores, self.lists
        ):
            negatives = [(self.pairs.corpus[index], score) for index, score in found]
            for index, score in zip(positives, scores):
                yield query, self.pairs.corpus[index], score, negatives

    def columns(self, output_format: str, output_scores: bool) -> dict[str, list[Any]]:
        make = {
            "triplet": self._triplets,
            "n-tuple": self._tuples,
            "labeled-pair": self._labeled_pairs,
            "labeled-list": self._labeled_lists,
        }
        names, rows = make[output_format](output_scores)
        return {name: [row[place] for row in rows] for place, name in enumerate(names)}

    def _triplets(self, with_scores):
        rows = [
            (query, positive, negative, [own, score])
            for query, positive, own, negatives in self._rows()
            for negative, score in negatives
        ]
        return [*self.pairs.columns, "negative", *["scores"] * with_scores], rows

    def _tuples(self, with_scores):
        rows = [
            (query, positive, *(text for text, _ in negatives), [own, *(score for _, score in negatives)])
            for query, positive, own, negatives in self._rows()
            if len(negatives) == self.count
        ]
        names = [f"negative_{place}" for place in range(1, self.count + 1)]
        return [*self.pairs.columns, *names, *["scores"] * with_scores], rows

    def _labeled_pairs(self, with_scores):
        rows = []
        for query, positives, scores, found in zip(
            self.pairs.queries, self.pairs.positives, self.positive_scores, self.lists
        ):
            texts = [(index, score, 1) for index, score in zip(positives, scores)]
            texts += [(index, score, 0) for index, score in found]
            rows += [
                (query, self.pairs.corpus[index], score if with_scores else label) for index, score, label in texts
            ]
        return [*self.pairs.columns, "score" if with_scores else "label"], rows

    def _labeled_lists(self, with_scores):
        rows = []
        for query, positive, own, negatives in self._rows():
            if negatives:
                scores = [own, *(score for _, score in negatives)]
                labels = [1] + [0] * len(negatives)
                texts = [positive, *(text for text, _ in negatives)]
                rows.append((query, texts, scores if with_scores else labels))
        return [*self.pairs.columns, "scores" if with_scores else "labels"], rows

    def report(self) -> None:
        positives = np.concatenate([np.array(scores) for scores in self.positive_scores])
        negatives = np.array([score for found in self.lists for _, score in found])
        print(f"{'Metric':<6} {'Positive':>14} {'Negative':>14}")
        print(f"{'Count':<6} {len(positives):>14,} {len(negatives):>14,}")
        for name, function in (("Mean", np.mean), ("Median", np.median), ("Min", np.min), ("Max", np.max)):
            values = [f"{function(scores):.4f}" if len(scores) else "" for scores in (positives, negatives)]
            print(f"{name:<6} {values[0]:>14} {values[1]:>14}")
        short = sum(len(found) < self.count for found in self.lists)
        if short:
            print(f"{short} of {len(self.lists)} anchors have fewer than {self.count} texts that qualify.")
