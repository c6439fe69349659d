"""Any shape and any type of numbers, as hypothesis thinks of them, against NumPy."""

import numpy as np
import pytest

import hardneg
import reference

hypothesis = pytest.importorskip("hypothesis", reason="hypothesis is not installed: shapes and types are not searched")
st = hypothesis.strategies

TYPES = ["f2", "<f4", ">f4", "<f8", ">f8", "i1", "u1", "<i2", ">i4", "i8"]
SETTINGS = hypothesis.settings(max_examples=150, deadline=None)


@st.composite
def rows(draw, count, dim):
    """An array of some type and layout with small values, so that every type holds them exactly."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32)))
    array = generator.integers(0, 9, (count, dim)).astype(draw(st.sampled_from(TYPES)))
    layout = draw(st.sampled_from(["C", "F", "strided", "reversed", "list"]))
    if layout == "strided":
        return np.repeat(np.repeat(array, 2, 0), 3, 1)[::2, ::3]
    if layout == "reversed":
        return array[::-1, ::-1].copy()[::-1, ::-1]
    return array.tolist() if layout == "list" else np.asarray(array, order=layout)


@st.composite
def pairs(draw):
    count, dim = draw(st.integers(2, 40)), draw(st.integers(1, 50))
    return draw(rows(count, dim)), draw(rows(count, dim))


def plain(array):
    return np.ascontiguousarray(array, dtype=np.float32)


@SETTINGS
@hypothesis.given(pairs(), st.sampled_from(["below", "at-or-below", "any"]), st.floats(-1, 2, width=32))
def test_the_loss(pair, rule, margin):
    anchors, positives = pair
    result = hardneg.triplet_loss(anchors, positives, negatives=rule, margin=margin)
    same = hardneg.triplet_loss(plain(anchors), plain(positives), negatives=rule, margin=margin)
    assert result.loss == same.loss
    s = reference.similarities(anchors, positives)
    # Small integers have ties in float64 that NumPy's sums may miss, so that terms are compared on the rows.
    np.testing.assert_allclose(result.positive, s.diagonal(), atol=1e-6)
    negative = ~np.eye(len(s), dtype=bool)
    means = np.where(negative, s, 0).sum(1) / (len(s) - 1)
    np.testing.assert_allclose(result.mean_negative, means, atol=1e-6)
    terms = np.maximum(result.mean_negative.astype(float) - result.positive + np.float32(margin), 0)
    closest = result.closest_negative.astype(float) - result.positive + np.float32(margin)
    terms += np.where(np.isnan(closest), 0, np.maximum(closest, 0))
    np.testing.assert_allclose(result.loss, terms.sum(), rtol=1e-5, atol=1e-5)


@SETTINGS
@hypothesis.given(st.data())
def test_mining(data):
    queries, candidates, dim = (data.draw(st.integers(1, size)) for size in (20, 40, 30))
    q, c = data.draw(rows(queries, dim)), data.draw(rows(candidates, dim))
    k, skip = data.draw(st.integers(1, 50)), data.draw(st.integers(0, 3))
    known = data.draw(st.lists(st.lists(st.integers(0, candidates - 1), max_size=4), min_size=queries, max_size=queries))
    mined = hardneg.mine(q, c, k, positives=known, skip=skip)
    same = hardneg.Bank(c).mine(plain(q), k, positives=known, skip=skip)
    np.testing.assert_array_equal(mined.indices, same.indices)
    np.testing.assert_array_equal(mined.similarities, same.similarities)
    reference.check_mined(mined, reference.mine(q, c, k, known, skip=skip))
