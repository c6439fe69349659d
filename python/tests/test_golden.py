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


def test_the_cosine_of_the_lab():
    vectors = json.loads((DATA / "lab.json").read_text())["two_vectors"]
    assert hardneg.cosine_similarity(vectors["v1"], vectors["v2"]) == np.float32(vectors["cosine"])
