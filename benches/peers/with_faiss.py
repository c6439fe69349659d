"""FAISS: exact searches by inner product, and one of 8 bits an element, which is not exact.

This is the part of the job that it can do. Of the two most similar rows one is not the anchor's own positive: the
closest of all negatives. It knows no rule, and computes neither the mean, nor the loss, nor gradients.
"""

import os
from pathlib import Path

import numpy as np

from task import Job, Task, second

# The OpenBLAS in a FAISS package may be older than the CPU, and then falls back to its slowest kernels, without a word.
# So it is told which ones to take, before it is loaded: the first whose instruction set the CPU has.
VARIABLE = "OPENBLAS_CORETYPE"
KERNELS = {"avx512vl": "SKYLAKEX", "avx2": "HASWELL"}
CPU = Path("/proc/cpuinfo")
FLAGS = CPU.read_text().split() if CPU.exists() else []
for kernel in (kernel for flag, kernel in KERNELS.items() if flag in FLAGS):
    os.environ.setdefault(VARIABLE, kernel)

import faiss  # noqa: E402


def version() -> str:
    """The version of FAISS, its instruction set, and the kernels of its matrix products."""
    kernels = os.environ.get(VARIABLE, "its own choice")
    return f"FAISS {faiss.__version__} ({faiss.get_compile_options().strip()}; OpenBLAS kernels: {kernels})"


def jobs(task: Task, threads: int) -> dict[str, Job]:
    """Searches from raw rows, in indices that are kept, or of a corpus."""
    faiss.omp_set_num_threads(threads)
    if task.kind == "loss":
        return {"FAISS, top 2": Job(lambda: raw(task), lambda: task.check_closest(second(raw(task))))}
    if task.kind == "mining":
        return {"FAISS flat": Job(lambda: mined(task), lambda: task.check_lists(mined(task)))}
    dim = task.candidates.shape[1]
    eight_bits = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    indices = {"FAISS flat": faiss.IndexFlatIP(dim), "FAISS 8 bits": eight_bits}
    return {name: search(task, index, index is eight_bits) for name, index in indices.items()}


def search(task: Task, index: faiss.Index, approximate: bool) -> Job:
    """The two most similar rows of an index."""
    index.train(task.candidates)
    index.add(task.candidates)
    some = task.anchors[: task.count]
    return Job(
        lambda: index.search(some, 2),
        lambda: task.check_closest(second(index.search(task.anchors, 2)[1]), approximate),
    )


def raw(task: Task) -> np.ndarray:
    """The same from rows that nothing was prepared of."""
    anchors, candidates = task.anchors.copy(), task.candidates.copy()
    faiss.normalize_L2(anchors)
    faiss.normalize_L2(candidates)
    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates)
    return index.search(anchors, 2)[1]


def mined(task: Task) -> np.ndarray:
    """The k + 1 most similar rows, without the positive and what the threshold rules out."""
    index = faiss.IndexFlatIP(task.candidates.shape[1])
    index.add(task.candidates)
    scores, indices = index.search(task.anchors, task.k + 1)
    keep = (indices != np.arange(len(indices))[:, None]) & (scores <= task.limit()[:, None])
    order = np.argsort(~keep, axis=1, kind="stable")[:, : task.k]
    return np.take_along_axis(np.where(keep, indices, -1), order, axis=1)
