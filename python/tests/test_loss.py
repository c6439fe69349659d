import numpy as np
import pytest

import hardneg
import reference
from conftest import normal

RULES = ["below", "at-or-below", "any"]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", [(2, 1), (3, 5), (17, 16), (40, 33), (200, 96)])
def test_pairs(shape, rule, reduction):
    anchors = normal(*shape, 3)
    positives = (anchors + normal(*shape, 4)).astype(np.float32)
    s = reference.similarities(anchors, positives)
    expected = reference.loss(s, s.diagonal(), ~np.eye(len(s), dtype=bool), 0.3, rule, reduction)
    result = hardneg.triplet_loss(anchors, positives, margin=0.3, negatives=rule, reduction=reduction)
    reference.check_result(result, expected)
    assert result.rows == shape[0] and result.zero_anchors == 0


def test_the_sample(sample):
    anchors, positives = sample
    s = reference.similarities(anchors, positives)
    expected = reference.loss(s, s.diagonal(), ~np.eye(256, dtype=bool))
    reference.check_result(hardneg.triplet_loss(anchors, positives), expected)


@pytest.mark.parametrize("rule", RULES)
def test_indices_of_candidates(rule):
    anchors, candidates = normal(30, 20, 5), normal(70, 20, 6)
    indices = np.random.default_rng(7).integers(0, 70, 30)
    s = reference.similarities(anchors, candidates)
    negative = np.ones_like(s, bool)
    negative[np.arange(30), indices] = False
    expected = reference.loss(s, s[np.arange(30), indices], negative, rule=rule)
    reference.check_result(
        hardneg.triplet_loss(anchors, indices.tolist(), candidates=candidates, negatives=rule), expected
    )


@pytest.mark.parametrize("rule", RULES)
def test_positives_outside(pairs, rule):
    anchors, positives = pairs
    queue = normal(55, 24, 8)
    s = reference.similarities(anchors, queue)
    own = reference.similarities(anchors, positives).diagonal()
    expected = reference.loss(s, own, np.ones_like(s, bool), rule=rule)
    reference.check_result(hardneg.triplet_loss(anchors, positives, candidates=queue, negatives=rule), expected)


def test_labels_and_lists_exclude(pairs):
    anchors, positives = pairs
    labels = np.arange(40) % 7 - 3
    s = reference.similarities(anchors, positives)
    negative = labels[:, None] != labels[None, :]
    expected = reference.loss(s, s.diagonal(), negative)
    lists = [np.flatnonzero(labels == label) for label in labels]
    by_pairs = [(row, int(index)) for row, row_list in enumerate(lists) for index in row_list]
    for options in (
        {"labels": labels},
        {"labels": labels.astype(np.uint8).tolist()},
        {"labels": (labels, labels)},
        {"exclude": lists},
        {"exclude": [list(map(int, row_list)) for row_list in lists]},
        {"exclude": by_pairs},
        {"exclude": np.array(by_pairs[::-1])},
    ):
        reference.check_result(hardneg.triplet_loss(anchors, positives, **options), expected)


def test_rows_without_negatives_have_no_sentinel():
    rows = normal(3, 4, 9)
    result = hardneg.triplet_loss(rows, rows, labels=[1, 1, 1])
    assert np.isnan(result.mean_negative).all() and np.isnan(result.closest_negative).all()
    assert (result.closest_index == -1).all() and result.without_negatives == 3 and result.loss == 0.0


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("rule", RULES)
def test_gradients_against_differences(rule, reduction):
    """Central differences of the loss in float64, with the closest negatives held where they are."""
    anchors, positives = normal(9, 6, 10), normal(9, 6, 11)
    result = hardneg.triplet_loss_and_gradients(anchors, positives, margin=0.4, negatives=rule, reduction=reduction)
    forward = hardneg.triplet_loss(anchors, positives, margin=0.4, negatives=rule, reduction=reduction)
    assert result.loss == forward.loss and result.candidate_gradients is None

    def held(anchors, positives):
        s = reference.similarities(anchors, positives)
        rows = np.arange(len(s))
        mean = (s.sum(1) - s.diagonal()) / (len(s) - 1)
        closest = np.where(result.closest_index < 0, -9, s[rows, result.closest_index])
        terms = np.maximum(mean - s.diagonal() + 0.4, 0) + np.maximum(closest - s.diagonal() + 0.4, 0)
        return getattr(np, reduction)(terms)

    rows = [anchors.astype(np.float64), positives.astype(np.float64)]
    for side, gradients in enumerate((result.anchor_gradients, result.positive_gradients)):
        assert gradients.dtype == np.float32 and gradients.shape == anchors.shape
        for place in np.ndindex(gradients.shape):
            old, step = rows[side][place], 1e-5
            rows[side][place] = old + step
            above = held(*rows)
            rows[side][place] = old - step
            below = held(*rows)
            rows[side][place] = old
            np.testing.assert_allclose(gradients[place], (above - below) / (2 * step), atol=2e-4)


def test_gradients_of_every_side(pairs):
    anchors, positives = pairs
    queue = normal(30, 24, 12)
    outside = hardneg.triplet_loss_and_gradients(anchors, positives, candidates=queue)
    assert outside.positive_gradients.shape == (40, 24) and outside.candidate_gradients.shape == (30, 24)
    indexed = hardneg.triplet_loss_and_gradients(anchors, np.arange(40), candidates=positives)
    paired = hardneg.triplet_loss_and_gradients(anchors, positives)
    assert indexed.positive_gradients is None
    np.testing.assert_array_equal(indexed.candidate_gradients, paired.positive_gradients)
    np.testing.assert_array_equal(indexed.anchor_gradients, paired.anchor_gradients)
    assert isinstance(paired, hardneg.TripletLossResult)


@pytest.mark.parametrize("threads", [2, 3])
def test_threads_change_no_bit(sample, threads):
    anchors, positives = (np.tile(rows, (8, 1)) + normal(2048, 384, 13) * 0.1 for rows in sample)
    one = hardneg.triplet_loss_and_gradients(anchors, positives)
    several = hardneg.triplet_loss_and_gradients(anchors, positives, threads=threads)
    assert one.loss == several.loss
    np.testing.assert_array_equal(one.anchor_gradients, several.anchor_gradients)
    np.testing.assert_array_equal(one.positive_gradients, several.positive_gradients)
    np.testing.assert_array_equal(one.closest_index, several.closest_index)


def test_similarity():
    a, b = normal(5, 30, 14), normal(7, 30, 15)
    matrix = hardneg.cosine_similarity(a, b)
    assert matrix.shape == (5, 7) and matrix.dtype == np.float32
    np.testing.assert_allclose(matrix, reference.similarities(a, b), atol=1e-7)
    one = hardneg.cosine_similarity(a[2], b[3])
    assert isinstance(one, float) and one == matrix[2, 3]


def test_the_original_loss():
    assert hardneg.original_triplet_loss(0.5, 0.75, 0.25) == 0.5
    assert hardneg.original_triplet_loss(0.9, 0.1) == 0.0
    losses = hardneg.original_triplet_loss([0.5, 0.9], np.array([0.75, 0.1]), margin=0.25)
    np.testing.assert_array_equal(losses, [0.5, 0.0])
    assert np.isnan(hardneg.original_triplet_loss(float("nan"), 0.5))


def test_backend_is_a_name():
    assert hardneg.backend() in {"portable", "avx2", "avx_vnni", "avx512", "neon", "neon_dotprod"}
