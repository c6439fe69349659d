"""What the arguments may be, and what is refused."""

import sys

import numpy as np
import pytest

import hardneg
from conftest import normal


class ArrayLike:
    """Something that NumPy makes an array of."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array if dtype is None else self.array.astype(dtype)


def strided(rows):
    wide = np.zeros((rows.shape[0] * 2, rows.shape[1] * 3), rows.dtype)
    wide[::2, 1::3] = rows
    return wide[::2, 1::3]


def unaligned(rows):
    memory = np.zeros(rows.nbytes + 1, np.uint8)
    view = memory[1:].view(rows.dtype).reshape(rows.shape)
    view[:] = rows
    return view


def memory_map(rows, folder):
    path = folder / f"{len(list(folder.iterdir()))}.npy"
    np.save(path, rows)
    return np.load(path, mmap_mode="r")


def test_whatever_numpy_makes_an_array_of(pairs, tmp_path):
    anchors, positives = (rows.astype(np.float16).astype(np.float32) for rows in pairs)
    expected = hardneg.triplet_loss(anchors, positives)
    for change in (
        lambda rows: rows.tolist(),
        list,
        tuple,
        lambda rows: rows.astype(np.float64),
        lambda rows: rows.astype(np.float16),
        lambda rows: rows.astype(">f4"),
        lambda rows: rows.astype(">f8"),
        np.asfortranarray,
        strided,
        unaligned,
        ArrayLike,
        memoryview,
        lambda rows: memory_map(rows, tmp_path),
        lambda rows: np.ma.masked_array(rows),
    ):
        for arguments in ((change(anchors), positives), (anchors, change(positives))):
            result = hardneg.triplet_loss(*arguments)
            assert result.loss == expected.loss
            np.testing.assert_array_equal(result.closest_index, expected.closest_index)
        mined = hardneg.mine(change(anchors), change(positives), 3)
        np.testing.assert_array_equal(mined.indices, hardneg.mine(anchors, positives, 3).indices)
        assert len(hardneg.Bank(change(positives))) == 40


def test_integers_are_numbers():
    rows = np.arange(12).reshape(4, 3)
    assert hardneg.triplet_loss(rows, rows).loss == hardneg.triplet_loss(rows.astype(np.float32), rows).loss


def test_float32_is_not_copied(pairs):
    """A result of three rows against a large array: the call takes no memory of its size."""
    import tracemalloc

    rows = normal(20_000, 100, 40)
    for array, limit in ((rows, 100_000), (rows.astype(np.float64), rows.nbytes * 1.01)):
        hardneg.mine(rows[:3], array, 2)
        tracemalloc.start()
        hardneg.mine(rows[:3], array, 2)
        assert tracemalloc.get_traced_memory()[1] < limit
        tracemalloc.stop()


def test_references_are_given_back(pairs):
    anchors, positives = pairs
    bank = hardneg.Bank(positives)
    labels = np.arange(40)
    before = [sys.getrefcount(x) for x in (anchors, positives, labels, bank)]
    for _ in range(100):
        hardneg.triplet_loss_and_gradients(anchors, positives, labels=labels)
        hardneg.mine(anchors, positives, query_labels=labels, corpus_labels=labels, exclude=[[]] * 40)
        bank.mine(anchors)
        with pytest.raises(ValueError):
            hardneg.triplet_loss(anchors, positives[:5])
    assert before == [sys.getrefcount(x) for x in (anchors, positives, labels, bank)]
    array = hardneg.triplet_loss(anchors, positives).positive
    count = sys.getrefcount(array)
    assert count == 2
    anchors[0] = 0  # It may be written again.


BAD_VALUES = [
    (lambda a, p: hardneg.triplet_loss(a, p[:-1]), "positives: expected 960 elements, got 936"),
    (lambda a, p: hardneg.triplet_loss(a, p[:, :-1]), "positives: expected 24 elements, got 23"),
    (lambda a, p: hardneg.triplet_loss(a[:1], p[:1]), "a single row to choose from leaves no negative"),
    (lambda a, p: hardneg.triplet_loss(a[:0], p[:0]), "anchors: no rows"),
    (lambda a, p: hardneg.triplet_loss(a[:, :0], p[:, :0]), "dim is 0"),
    (lambda a, p: hardneg.triplet_loss(a[0], p), r"anchors: expected an array of two dimensions, got shape \(24,\)"),
    (lambda a, p: hardneg.triplet_loss(a[None], p), "anchors: expected an array of two dimensions"),
    (lambda a, p: hardneg.triplet_loss(a, np.full_like(p, np.nan)), "positives: row 0 holds a NaN or an infinity"),
    (lambda a, p: hardneg.triplet_loss(a, p, margin=float("inf")), "the margin is inf"),
    (lambda a, p: hardneg.triplet_loss(a, p, negatives="above"), "negatives: expected below, at-or-below or any"),
    (lambda a, p: hardneg.triplet_loss(a, p, reduction="none"), "reduction: expected sum or mean"),
    (lambda a, p: hardneg.triplet_loss(a, p, threads=0), "threads: expected at least 1, got 0"),
    (lambda a, p: hardneg.triplet_loss(a, p, threads=-3), "threads: expected at least 1, got -3"),
    (lambda a, p: hardneg.triplet_loss(a, p, labels=[1, 2]), "labels of the anchors: expected 40 elements, got 2"),
    (lambda a, p: hardneg.triplet_loss(a, p, candidates=p, labels=[1] * 40), "labels: expected a tuple"),
    (lambda a, p: hardneg.triplet_loss(a, p, labels=[1] * 40, exclude=[[]] * 40), "labels and exclude"),
    (lambda a, p: hardneg.triplet_loss(a, p, exclude=[[]] * 39), "exclude: expected a list for each of 40 rows, got 39"),
    (lambda a, p: hardneg.triplet_loss(a, p, exclude=[(3, 40)]), "row 3: candidate 40 is excluded, but there are 40"),
    (lambda a, p: hardneg.triplet_loss(a, p, exclude=[(40, 3)]), "exclude: pair 0 is of row 40"),
    (lambda a, p: hardneg.triplet_loss(a, p, exclude=[(1, 2, 3)]), "exclude: expected pairs"),
    (lambda a, p: hardneg.triplet_loss(a, [-1] * 40, candidates=p), "row 0: its positive is candidate -1"),
    (lambda a, p: hardneg.triplet_loss(a, [1] * 39, candidates=p), "positive indices: expected 40 elements, got 39"),
    (lambda a, p: hardneg.mine(a, p, 0), "k is 0"),
    (lambda a, p: hardneg.mine(a, p, -1), "k: expected no less than 0, got -1"),
    (lambda a, p: hardneg.mine(a, p, skip=-1), "skip: expected no less than 0, got -1"),
    (lambda a, p: hardneg.mine(a, p, absolute_margin=float("nan")), "absolute_margin is NaN"),
    (lambda a, p: hardneg.mine(a, p, positives="pairs"), 'positives: expected "paired"'),
    (lambda a, p: hardneg.mine(a, p[:39]), "row 39: its positive is candidate 39, but there are 39 candidates"),
    (lambda a, p: hardneg.mine(a, p, query_labels=[1] * 40), "query_labels and corpus_labels"),
    (lambda a, p: hardneg.cosine_similarity(a[0], p[0, 1:]), "expected 24 elements, got 23"),
    (lambda a, p: hardneg.cosine_similarity(a, p[:, 1:]), "expected 24 elements, got 23"),
    (lambda a, p: hardneg.original_triplet_loss([1.0], [1.0, 2.0]), "negative: expected 1 elements, got 2"),
]


@pytest.mark.parametrize("call, message", BAD_VALUES)
def test_bad_values(pairs, call, message):
    with pytest.raises(ValueError, match=message):
        call(*pairs)


BAD_TYPES = [
    lambda a, p: hardneg.triplet_loss(None, p),
    lambda a, p: hardneg.triplet_loss("rows", p),
    lambda a, p: hardneg.triplet_loss(a.astype(complex), p),
    lambda a, p: hardneg.triplet_loss(a.astype(str), p),
    lambda a, p: hardneg.triplet_loss(a.astype(str).tolist(), p),
    lambda a, p: hardneg.triplet_loss(a.astype(object), p),
    lambda a, p: hardneg.triplet_loss(a, p, margin="wide"),
    lambda a, p: hardneg.triplet_loss(a, p, negatives=1),
    lambda a, p: hardneg.triplet_loss(a, p, threads=1.5),
    lambda a, p: hardneg.triplet_loss(a, p, labels=[0.5] * 40),
    lambda a, p: hardneg.triplet_loss(a, p, labels=["a"] * 40),
    lambda a, p: hardneg.triplet_loss(a, np.arange(40.0), candidates=p),
    lambda a, p: hardneg.triplet_loss(a, p, exclude=7),
    lambda a, p: hardneg.triplet_loss(a, p, exclude="no"),
    lambda a, p: hardneg.triplet_loss(a, p, 0.25),
    lambda a, p: hardneg.triplet_loss(a, p, temperature=1),
    lambda a, p: hardneg.mine(a, p, 2.5),
    lambda a, p: hardneg.mine(a, p, positives=3),
    lambda a, p: hardneg.mine(a, p, absolute_margin="no"),
]


@pytest.mark.parametrize("call", BAD_TYPES)
def test_bad_types(pairs, call):
    with pytest.raises(TypeError):
        call(*pairs)


def test_too_large_a_result_is_no_crash(pairs):
    with pytest.raises((MemoryError, ValueError)):
        hardneg.mine(*pairs, 2**55)


def test_signatures_and_docstrings():
    import inspect

    for function in (hardneg.triplet_loss, hardneg.mine, hardneg.Bank.mine, hardneg.Bank.triplet_loss):
        assert "threads=1" in str(inspect.signature(function)) and function.__doc__
    assert "positives='paired'" in str(inspect.signature(hardneg.mine))
