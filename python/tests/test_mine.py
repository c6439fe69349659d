import numpy as np
import pytest

import hardneg
import reference
from conftest import normal


@pytest.fixture
def corpus():
    """30 queries, and 90 rows of which row i is close to query i."""
    queries = normal(30, 16, 20)
    near = queries + 0.7 * normal(30, 16, 21)
    return queries, np.concatenate([near, normal(60, 16, 22)]).astype(np.float32)


PAIRED = [[query] for query in range(30)]


@pytest.mark.parametrize("k", [1, 3, 10, 90, 200])
def test_the_k_closest(corpus, k):
    mined = hardneg.mine(*corpus, k)
    assert mined.indices.shape == (30, k)
    reference.check_mined(mined, reference.mine(*corpus, k, PAIRED))


@pytest.mark.parametrize(
    "options, admits",
    [
        ({"negatives": "below"}, lambda s, p: s < p),
        ({"negatives": "at-or-below"}, lambda s, p: s <= p),
        ({"absolute_margin": 0.1}, lambda s, p: s + 0.1 <= p),
        ({"relative_margin": 0.2}, lambda s, p: s <= p - abs(p) * 0.2),
        ({"max_similarity": 0.4}, lambda s, p: s <= np.float32(0.4)),
        ({"min_similarity": 0.3}, lambda s, p: s >= np.float32(0.3)),
        ({"skip": 3}, lambda s, p: np.ones_like(s, bool)),
        ({"skip": 2, "max_similarity": 0.5, "negatives": "below"}, lambda s, p: (s <= np.float32(0.5)) & (s < p)),
    ],
)
def test_thresholds(corpus, options, admits):
    mined = hardneg.mine(*corpus, 7, **options)
    reference.check_mined(mined, reference.mine(*corpus, 7, PAIRED, admits, skip=options.get("skip", 0)))


def test_known_positives_in_every_form(corpus):
    generator = np.random.default_rng(23)
    known = [sorted(generator.choice(90, generator.integers(0, 4), replace=False).tolist()) for _ in range(30)]
    pairs = [(query, index) for query, indices in enumerate(known) for index in indices]
    expected = reference.mine(*corpus, 5, known, lambda s, p: s < p)
    for positives in (known, [np.array(indices, int) for indices in known], pairs, np.array(pairs[::-1], np.int32)):
        reference.check_mined(hardneg.mine(*corpus, 5, positives=positives, negatives="below"), expected)
    one = generator.integers(0, 90, 30)
    expected = reference.mine(*corpus, 5, one[:, None], lambda s, p: s < p)
    for positives in (one, one.tolist(), one.astype(np.uint16)):
        reference.check_mined(hardneg.mine(*corpus, 5, positives=positives, negatives="below"), expected)
    expected = reference.mine(*corpus, 5, [[]] * 30)
    for positives in (None, [[]] * 30, np.empty((0, 2), int)):
        reference.check_mined(hardneg.mine(*corpus, 5, positives=positives), expected)


def test_exclusions(corpus):
    generator = np.random.default_rng(24)
    by_list = generator.random((30, 90)) < 0.2
    query_labels, corpus_labels = generator.integers(-2, 3, 30), generator.integers(-2, 3, 90)
    by_label = query_labels[:, None] == corpus_labels[None, :]
    labels = {"query_labels": query_labels, "corpus_labels": corpus_labels}
    exclude = {"exclude": np.argwhere(by_list)}
    for options, excluded in (
        (labels, by_label),
        (exclude, by_list),
        (labels | exclude, by_label | by_list),
    ):
        mined = hardneg.mine(*corpus, 6, **options)
        reference.check_mined(mined, reference.mine(*corpus, 6, PAIRED, excluded=excluded))


def test_distinct(corpus):
    queries, rows = corpus
    rows = np.concatenate([rows, rows[::-1], rows[5:50]])
    expected = reference.mine(queries, rows[:90], 9, PAIRED)
    mined = hardneg.mine(queries, rows, 9, distinct=True)
    reference.check_mined(mined, expected)
    with_bank = hardneg.Bank(rows).mine(queries, 9, distinct=True)
    np.testing.assert_array_equal(mined.indices, with_bank.indices)
    # A query whose positive is a later copy.
    positives = [179 - query for query in range(30)]
    reference.check_mined(hardneg.mine(queries, rows, 9, positives=positives, distinct=True), expected)


def test_with_one_neighbour_it_is_the_closest_negative(sample):
    anchors, positives = sample
    mined = hardneg.mine(anchors, positives, 1, negatives="below")
    result = hardneg.triplet_loss(anchors, positives)
    np.testing.assert_array_equal(mined.indices[:, 0], result.closest_index)
    np.testing.assert_array_equal(mined.similarities[:, 0], result.closest_negative)


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_pieces_change_no_bit(threads):
    """Enough pairs for several pieces, against pieces that the test makes."""
    corpus, queries = normal(6000, 256, 25), normal(4000, 256, 26)
    known = np.random.default_rng(27).integers(0, 6000, (9000, 2)) % [4000, 6000]
    labels = {"query_labels": np.arange(4000) % 50, "corpus_labels": np.arange(6000) % 50}
    exclude = np.random.default_rng(28).integers(0, 6000, (9000, 2)) % [4000, 6000]
    options = {"negatives": "below", "threads": threads}
    mined = hardneg.mine(queries, corpus, 4, positives=known, exclude=exclude, **labels, **options)
    for first in range(0, 4000, 1000):
        def of_piece(pairs):
            return pairs[(pairs[:, 0] >= first) & (pairs[:, 0] < first + 1000)] - [first, 0]

        labels["query_labels"] = (np.arange(4000) % 50)[first : first + 1000]
        piece = hardneg.mine(
            queries[first : first + 1000], corpus, 4, positives=of_piece(known), exclude=of_piece(exclude), **labels,
            **options,
        )
        np.testing.assert_array_equal(mined.indices[first : first + 1000], piece.indices)
        np.testing.assert_array_equal(mined.similarities[first : first + 1000], piece.similarities)


def test_a_row_that_is_not_finite_has_its_index_in_all_queries():
    corpus, queries = normal(6000, 256, 25), normal(4000, 256, 26)
    queries[3777, 3] = np.nan
    with pytest.raises(ValueError, match="queries: row 3777 holds a NaN or an infinity"):
        hardneg.mine(queries, corpus)


def test_progress(corpus, capsys):
    hardneg.mine(*corpus, progress=True)
    assert capsys.readouterr().err.endswith("\rmined 30 of 30 queries\n")
