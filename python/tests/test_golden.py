"""Batches whose results NumPy and PyTorch's autograd have computed in float64: tests/data of the repository."""

import json

import numpy as np
import pytest

import hardneg
import reference
from conftest import ROOT

DATA = ROOT / "tests" / "data"


def cases(name):
    return [pytest.param(case, id=case["name"]) for case in json.loads((DATA / name).read_text())]


def lists(offsets, indices):
    return [indices[first:end] for first, end in zip(offsets, offsets[1:])]


@pytest.mark.parametrize("case", cases("cases.json"))
def test_pairs(case):
    golden = np.load(DATA / case["file"])
    options = {"margin": case["margin"], "negatives": case["negatives"]}
    result = hardneg.triplet_loss_and_gradients(golden["anchors"], golden["positives"], **options)
    terms = [result.loss, result.mean_term, result.closest_term]
    np.testing.assert_allclose(terms, [case["total"], case["mean_term"], case["closest_term"]], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(result.positive, golden["positive"], atol=1e-6)
    np.testing.assert_allclose(result.closest_negative, golden["closest_similarity"], atol=1e-6)
    np.testing.assert_array_equal(result.closest_index, golden["closest_index"])
    for side in ("anchor", "positive"):
        expected = golden[f"grad_{side}s"]
        norms = np.linalg.norm(golden[f"{side}s"].astype(np.float64), axis=1, keepdims=True)
        # Gradients scale with one over the norm of the row.
        np.testing.assert_allclose(getattr(result, f"{side}_gradients") * norms, expected * norms, atol=1e-5)


@pytest.mark.parametrize("case", cases("exclusions.json"))
def test_exclusions(case):
    golden = np.load(DATA / case["file"])
    options = {"margin": case["margin"], "negatives": case["rule"], "reduction": case["reduction"]}
    if "anchor_labels" in golden:
        options["labels"] = (golden["anchor_labels"], golden["candidate_labels"])
    if "list_offsets" in golden:
        options["exclude"] = lists(golden["list_offsets"], golden["list_indices"])
    positives = golden["positives" if "positives" in golden else "positive_index"]
    result = hardneg.triplet_loss_and_gradients(
        golden["anchors"], positives, candidates=golden["candidates"], **options
    )
    np.testing.assert_allclose(result.loss, case["loss"], rtol=1e-6)
    np.testing.assert_allclose(result.positive, golden["positive"], atol=1e-6)
    np.testing.assert_allclose(result.mean_negative, golden["mean"], atol=1e-6)
    np.testing.assert_allclose(result.closest_negative, golden["closest"], atol=1e-6)
    np.testing.assert_array_equal(result.closest_index, golden["index"])
    np.testing.assert_allclose(result.anchor_gradients, golden["grad_anchors"], atol=1e-5)
    np.testing.assert_allclose(result.candidate_gradients, golden["grad_candidates"], atol=1e-5)
    if "grad_positives" in golden:
        np.testing.assert_allclose(result.positive_gradients, golden["grad_positives"], atol=1e-5)


MINING = {
    "any": {},
    "below": {"negatives": "below"},
    "absolute": {"absolute_margin": 0.05},
    "relative": {"relative_margin": 0.05},
    "range": {"min_similarity": 0.35, "max_similarity": 0.6},
}


@pytest.mark.parametrize("name", MINING)
def test_mining(sample, name):
    """NumPy mined 1977 candidates, of which the sample has the first 256. So a list restricted to these stands without a
    gap in the list of the sample with nothing skipped. Queries whose known positives are in the sample are compared."""
    golden = np.load(DATA / f"mining_{name}.npz")
    known = lists(golden["known_offsets"], golden["known_indices"])
    assert len(known) == 200
    whole = [query for query, indices in enumerate(known) if all(indices < 256)]
    k, skip = int(golden["k"]), int(golden["skip"])
    queries, candidates = sample
    options = {"k": k + skip, "positives": [known[query] for query in whole], **MINING[name]}
    mined = hardneg.mine(queries[whole], candidates, **options)
    of_bank = hardneg.Bank(candidates).mine(queries[whole], **options)
    np.testing.assert_array_equal(mined.indices, of_bank.indices)
    np.testing.assert_array_equal(mined.similarities, of_bank.similarities)
    compared = 0
    for row, query in enumerate(whole):
        inside = (golden["indices"][query] >= 0) & (golden["indices"][query] < 256)
        indices, similarities = golden["indices"][query][inside], golden["similarities"][query][inside]
        if len(indices) == 0:
            continue
        start = mined.indices[row].tolist().index(indices[0])
        assert start <= skip, query
        places = slice(start, start + len(indices))
        np.testing.assert_array_equal(mined.indices[row, places], indices, f"query {query}")
        np.testing.assert_allclose(mined.similarities[row, places], similarities, atol=3e-7)
        compared += len(indices)
    assert compared > 100, compared


def test_the_cosine_of_the_lab():
    vectors = json.loads((DATA / "lab.json").read_text())["two_vectors"]
    assert hardneg.cosine_similarity(vectors["v1"], vectors["v2"]) == np.float32(vectors["cosine"])
