import pathlib

import numpy as np
import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def normal(rows, dim, seed):
    return np.random.default_rng(seed).standard_normal((rows, dim)).astype(np.float32)


@pytest.fixture
def pairs():
    """40 anchors and their positives, 24 elements each, closer to each other than to the rest."""
    anchors = normal(40, 24, 1)
    return anchors, (anchors + normal(40, 24, 2)).astype(np.float32)


@pytest.fixture(scope="session")
def sample():
    """The pairs of sentences of examples/data: two arrays of 256 x 384."""
    folder = ROOT / "examples" / "data"
    return np.load(folder / "anchors.npy"), np.load(folder / "positives.npy")
