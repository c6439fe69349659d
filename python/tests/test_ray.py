"""hardneg.ray on the real library, on this machine alone: the bytes of one process."""

import os
import signal
import time
import warnings

import numpy as np
import pytest

import hardneg
from conftest import normal

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    ray = pytest.importorskip("ray", reason="Ray is not installed: hardneg.ray is NOT TESTED")
import hardneg.ray  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def cluster():
    environment = {"env_vars": {"PYTHONWARNINGS": "ignore"}}
    ray.init(num_cpus=2, include_dashboard=False, logging_level="ERROR", runtime_env=environment)
    yield
    ray.shutdown()


def same(sharded, whole):
    for name in ("indices", "similarities", "counts"):
        own, other = getattr(sharded, name), getattr(whole, name)
        assert own.dtype == other.dtype and own.shape == other.shape
        assert own.tobytes() == other.tobytes() or np.array_equal(own, other, equal_nan=True), name


@pytest.fixture(scope="module")
def rows():
    """40 queries, 300 rows of which 40 are close to the queries and some are repeated."""
    queries = normal(40, 16, 80)
    corpus = np.concatenate([queries + 0.5 * normal(40, 16, 81), normal(240, 16, 82)]).astype(np.float32)
    return queries, np.concatenate([corpus, corpus[100:120]])


@pytest.fixture(scope="module")
def sharded(rows):
    corpus = hardneg.ray.ShardedCorpus(np.split(rows[1], [0, 7, 7, 8, 150]))
    yield corpus
    corpus.close()


def options():
    generator = np.random.default_rng(83)
    lists = [generator.choice(300, generator.integers(0, 4), replace=False).tolist() for _ in range(40)]
    pairs = np.array([(row, index) for row, own in enumerate(lists) for index in own])
    labels = {"query_labels": np.arange(40) % 6, "corpus_labels": np.arange(300) % 6}
    return [
        {},
        {"negatives": "below"},
        {"negatives": "at-or-below", "positives": lists},
        {"positives": None},
        {"positives": pairs, "absolute_margin": 0.1},
        {"positives": generator.integers(0, 300, 40), "relative_margin": 0.05},
        {"max_similarity": 0.5, "min_similarity": 0.1},
        {"skip": 3},
        {"exclude": pairs, **labels},
        {"exclude": lists, "negatives": "below"},
        labels,
        {"k": 400},
        {"k": 1, "skip": 299, "positives": None},
    ]


@pytest.mark.parametrize("options", options(), ids=lambda options: "-".join(options) or "defaults")
def test_the_bytes_of_one_process(rows, sharded, options):
    same(sharded.mine(rows[0], **options), hardneg.mine(*rows, **options))


def test_one_call(rows):
    queries, corpus = rows
    references = [ray.put(part) for part in np.array_split(corpus, 3)]
    same(hardneg.ray.mine(queries, references, 4, negatives="below"), hardneg.mine(queries, corpus, 4, negatives="below"))
    same(hardneg.ray.mine(queries, [corpus.tolist()], 4, threads=2), hardneg.mine(queries, corpus, 4))


def test_an_actor_that_dies_is_started_again(rows, sharded):
    expected = hardneg.mine(*rows, 5)
    before = ray.get([actor.process.remote() for actor in sharded.actors])
    for process in before[-2:]:
        os.kill(process, signal.SIGKILL)
    time.sleep(0.5)
    same(sharded.mine(rows[0], 5), expected)
    after = ray.get([actor.process.remote() for actor in sharded.actors])
    assert before[:-2] == after[:-2] and not set(before[-2:]) & set(after)


def test_what_is_refused(rows, sharded):
    queries, corpus = rows
    for call in (
        lambda: hardneg.ray.mine(queries, []),
        lambda: hardneg.ray.mine(queries, [corpus[:0]]),
        lambda: hardneg.ray.mine(queries, [corpus, corpus[:, :3]]),
        lambda: sharded.mine(queries, 0),
        lambda: sharded.mine(queries, positives="pairs"),
        lambda: sharded.mine(queries, positives=[(0, 300)]),
        lambda: sharded.mine(queries, exclude=[[]]),
        lambda: sharded.mine(queries, query_labels=[1] * 40),
        lambda: sharded.mine(queries[:, :3]),
    ):
        with pytest.raises(ValueError):
            call()
    for call in (lambda: sharded.mine(queries, distinct=True), lambda: sharded.mine([["a"]])):
        with pytest.raises(TypeError):
            call()
