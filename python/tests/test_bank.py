import numpy as np
import pytest

import hardneg
from conftest import normal


def same(one, other):
    """Whether two results have the same bits."""
    names = [name for name in dir(one) if not name.startswith("_")]
    for name in names:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.mark.parametrize("screens", [None, "off", ["i8", "i16"], ("f32",), []])
def test_a_bank_gives_the_bits_of_its_rows(pairs, screens):
    anchors, positives = pairs
    rows = np.concatenate([positives, normal(500, 24, 30)])
    bank = hardneg.Bank(rows, screens=screens)
    assert len(bank) == 540 and bank.dim == 24 and bank.nbytes > rows.nbytes
    same(bank.mine(anchors, 6, negatives="below"), hardneg.mine(anchors, rows, 6, negatives="below"))
    indices = np.arange(40)
    same(bank.triplet_loss(anchors, indices), hardneg.triplet_loss(anchors, indices, candidates=rows))
    same(bank.triplet_loss(anchors, positives), hardneg.triplet_loss(anchors, positives, candidates=rows))
    labels = np.arange(40) % 4, np.arange(540) % 4
    same(
        bank.triplet_loss(anchors, indices, labels=labels, margin=0.5, negatives="any", reduction="mean"),
        hardneg.triplet_loss(
            anchors, indices, candidates=rows, labels=labels, margin=0.5, negatives="any", reduction="mean"
        ),
    )


@pytest.mark.parametrize("threads", [1, 2])
def test_changes(threads):
    generator = np.random.default_rng(31)
    rows = list(normal(50, 12, 32))
    bank = hardneg.Bank(np.empty((0, 12), np.float32), threads=threads)
    assert len(bank) == 0
    bank.add(rows)
    for _ in range(60):
        row, index = generator.standard_normal(12).astype(np.float32), int(generator.integers(len(rows)))
        change = generator.integers(3)
        if change == 0:
            bank.add(row[None])
            rows.append(row)
        elif change == 1:
            bank.replace(index, row)
            rows[index] = row
        else:
            moved = bank.swap_remove(index)
            last = rows.pop()
            assert moved == (len(rows) if index < len(rows) else None)
            if moved is not None:
                rows[index] = last
        assert len(bank) == len(rows)
    queries = normal(9, 12, 33)
    same(bank.mine(queries, 5), hardneg.mine(queries, rows, 5))


def test_what_a_bank_refuses(pairs):
    anchors, positives = pairs
    bank = hardneg.Bank(positives)
    for call, error in (
        (lambda: bank.replace(40, positives[0]), "row 40 of a bank of 40 rows"),
        (lambda: bank.swap_remove(40), "row 40 of a bank of 40 rows"),
        (lambda: bank.replace(0, positives[0, :5]), "new rows: expected 24 elements, got 5"),
        (lambda: bank.add(positives[:, :5]), "new rows: expected 24 elements, got 5"),
        (lambda: bank.add([[np.inf] * 24]), "new rows: row 0 holds a NaN or an infinity"),
        (lambda: bank.mine(anchors[:, :5]), "queries: expected 24 elements, got 5"),
        (lambda: hardneg.Bank(positives, screens="i7"), "screen: expected auto, f32, i16, i8 or off"),
    ):
        with pytest.raises(ValueError, match=error):
            call()
    with pytest.raises(IndexError):
        bank.swap_remove(-1)
    with pytest.raises(TypeError):
        hardneg.Bank(positives, screens=7)
    same(bank.mine(anchors), hardneg.mine(anchors, positives))


def test_the_bank_has_its_own_rows(pairs):
    anchors, positives = pairs
    rows = positives.copy()
    bank = hardneg.Bank(rows)
    rows[:] = 0
    same(bank.mine(anchors), hardneg.mine(anchors, positives))


@pytest.mark.parametrize("dtype", ["f8", ">f4", "f2"])
def test_other_types_are_converted_in_pieces(dtype):
    import tracemalloc

    rows = normal(20_000, 100, 34).astype(dtype)
    tracemalloc.start()
    bank = hardneg.Bank(rows)
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    queries = normal(9, 100, 35)
    same(bank.mine(queries, 5), hardneg.mine(queries, rows, 5))
    same(hardneg.Bank(np.asfortranarray(rows[:500])).mine(queries, 5), hardneg.mine(queries, rows[:500], 5))
    assert len(hardneg.Bank(rows[:0])) == 0
    rows[13_000, 3] = np.nan
    with pytest.raises(ValueError, match="candidates: row 13000 holds a NaN"):
        hardneg.Bank(rows)
    with pytest.raises(ValueError, match="dim is 0"):
        hardneg.Bank(rows[:, :0])
