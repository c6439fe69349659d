"""The definition of the loss and of mining in NumPy, in float64: short, slow, and what the tests compare with."""

import numpy as np


def similarities(anchors, candidates):
    """The cosines of all pairs: (m, n), float64; 0 where a row is zero."""
    a, c = np.asarray(anchors, np.float64), np.asarray(candidates, np.float64)
    norms = np.linalg.norm(a, axis=1)[:, None] * np.linalg.norm(c, axis=1)[None, :]
    return np.divide(a @ c.T, norms, out=np.zeros_like(norms), where=norms > 0)


def allowed(s, positive, rule):
    """Which similarities may be those of the closest negative."""
    # The bits that comparisons are made on are those of float32.
    s, positive = s.astype(np.float32), positive.astype(np.float32)[:, None]
    return {"below": s < positive, "at-or-below": s <= positive, "any": np.ones_like(s, bool)}[rule]


def loss(s, positive, negative, margin=0.25, rule="below", reduction="sum"):
    """The loss and the statistics of the rows, from the similarities, those of the positives, and a mask of negatives."""
    counts = negative.sum(1)
    mean = np.divide(np.where(negative, s, 0).sum(1), counts, out=np.full(len(s), np.nan), where=counts > 0)
    masked = np.where(negative & allowed(s, positive, rule), s, -np.inf)
    index = masked.argmax(1)
    closest = masked.max(1)
    absent = np.isneginf(closest)
    closest, index = np.where(absent, np.nan, closest), np.where(absent, -1, index)
    terms = [np.nan_to_num(np.maximum(x - positive + margin, 0), nan=0.0) for x in (mean, closest)]
    total = getattr(np, reduction)
    return {
        "loss": total(terms[0] + terms[1]),
        "mean_term": total(terms[0]),
        "closest_term": total(terms[1]),
        "positive": positive,
        "mean_negative": mean,
        "closest_negative": closest,
        "closest_index": index,
    }


def mine(queries, corpus, k, known, admits=lambda s, p: np.ones_like(s, bool), excluded=None, skip=0):
    """The k most similar candidates of each query that qualify: lists of (index, similarity)."""
    s = similarities(queries, corpus).astype(np.float32)
    lists = []
    for query, row in enumerate(s):
        p = min((row[i] for i in known[query]), default=None)
        good = np.ones(len(row), bool) if p is None else admits(row.astype(np.float64), np.float64(p))
        good[list(known[query])] = False
        if excluded is not None:
            good &= ~excluded[query]
        order = [i for i in np.lexsort((np.arange(len(row)), -row)) if good[i]]
        lists.append([(int(i), row[i]) for i in order[skip : skip + k]])
    return lists


def check_result(result, expected):
    """Compares a TripletLossResult with what `loss` returned."""
    for name in ("loss", "mean_term", "closest_term"):
        np.testing.assert_allclose(getattr(result, name), expected[name], rtol=1e-5, atol=1e-5)
    for name in ("positive", "mean_negative", "closest_negative"):
        array = getattr(result, name)
        assert array.dtype == np.float32
        np.testing.assert_allclose(array, expected[name], atol=1e-6)
    assert result.closest_index.dtype == np.int64
    np.testing.assert_array_equal(result.closest_index, expected["closest_index"])


def check_mined(mined, lists):
    """Compares a Mined with what `mine` returned. Neighbours that are closer than a rounding may change places."""
    assert mined.indices.dtype == np.int64 and mined.similarities.dtype == np.float32 and mined.counts.dtype == np.int64
    for query, expected in enumerate(lists):
        count = mined.counts[query]
        assert count == len(expected)
        assert (mined.indices[query, count:] == -1).all() and np.isnan(mined.similarities[query, count:]).all()
        np.testing.assert_allclose(mined.similarities[query, :count], [s for _, s in expected], atol=3e-7)
        for place, (index, similarity) in enumerate(expected):
            if mined.indices[query, place] != index:
                assert abs(mined.similarities[query, place] - similarity) < 3e-7
