"""FAISS: an exact search for the two most similar rows by inner product.

This is the part of the job that it can do. One of the two is not the anchor's own positive: the closest of all
negatives. It does not know the rule that the closest must be no more similar than the positive, and computes neither
the mean, nor the loss, nor gradients.
"""

import os

import numpy as np

from contenders.answer import Answer
from contenders.batch import Batch
from contenders.job import PREPARED, SEARCH, Job
from contenders.machine import cpu_info
from contenders.neighbours import NEIGHBOURS, closest

# The OpenBLAS in a FAISS package may be older than the CPU, and then falls back to its slowest kernels, without a word.
# So it is told which ones to take, before it is loaded: the first whose instruction set the CPU has.
VARIABLE = "OPENBLAS_CORETYPE"
KERNELS = {"avx512vl": "SKYLAKEX", "avx2": "HASWELL"}
FLAGS = cpu_info("flags").split()
for kernel in (kernel for flag, kernel in KERNELS.items() if flag in FLAGS):
    os.environ.setdefault(VARIABLE, kernel)

import faiss  # noqa: E402


def version() -> str:
    """The version of FAISS, its instruction set, and the kernels of its matrix products."""
    kernels = os.environ.get(VARIABLE, "its own choice")
    return f"FAISS {faiss.__version__} ({faiss.get_compile_options().strip()}; OpenBLAS kernels: {kernels})"


def jobs(batch: Batch, threads: int) -> dict[str, Job]:
    """The search from raw rows, and the search alone."""
    faiss.omp_set_num_threads(threads)
    sides = batch.load()
    rows, index = prepared(*sides)
    searches = {
        SEARCH: lambda: search(*prepared(*sides)),
        PREPARED: lambda: search(rows, index),
    }
    return {
        name: Job(run=run, answer=lambda run=run: Answer(closest=closest(run()), any_negative=True))
        for name, run in searches.items()
    }


def prepared(anchors: np.ndarray, positives: np.ndarray) -> tuple[np.ndarray, faiss.IndexFlatIP]:
    """The anchors, and an index of the positives, after both are normalised."""
    anchors, positives = anchors.copy(), positives.copy()
    faiss.normalize_L2(anchors)
    faiss.normalize_L2(positives)
    index = faiss.IndexFlatIP(positives.shape[1])
    index.add(positives)
    return anchors, index


def search(anchors: np.ndarray, index: faiss.IndexFlatIP) -> np.ndarray:
    """The indices of every anchor's most similar positives."""
    return index.search(anchors, NEIGHBOURS)[1]
