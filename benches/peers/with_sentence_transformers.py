"""`mine_hard_negatives` of sentence-transformers, with all its defaults but for the number of negatives."""

import contextlib
import io

# First, as it chooses the kernels of FAISS.
from with_faiss import faiss  # isort: skip

import datasets
import numpy as np
import sentence_transformers as library
import torch

from task import Job, Task


def version() -> str:
    """The version of sentence-transformers."""
    return f"sentence-transformers {library.__version__}"


class Model:
    """Returns the rows whose numbers the texts are."""

    device = torch.device("cpu")
    similarity = staticmethod(library.util.dot_score)
    similarity_pairwise = staticmethod(library.util.pairwise_dot_score)

    def __init__(self, task: Task) -> None:
        self.encode_query = lambda _texts, **_: task.anchors
        self.encode_document = lambda _texts, **_: task.candidates
        self.get_embedding_dimension = lambda: task.candidates.shape[1]


def jobs(task: Task, threads: int) -> dict[str, Job]:
    """Mining, also with a flat FAISS index."""
    if task.kind != "mining":
        return {}
    faiss.omp_set_num_threads(threads)
    torch.set_num_threads(threads)
    datasets.disable_progress_bars()
    names = {"mine_hard_negatives": False, "mine_hard_negatives, FAISS": True}
    return {name: job(task, use_faiss) for name, use_faiss in names.items()}


def job(task: Task, use_faiss: bool) -> Job:
    """Mining once."""
    return Job(lambda: mined(task, use_faiss), lambda: task.check_lists(mined(task, use_faiss)))


def mined(task: Task, use_faiss: bool) -> np.ndarray:
    """The negatives of each query, -1 where it ran short."""
    texts = [str(row) for row in range(len(task.candidates))]
    queries = texts[: len(task.anchors)]
    pairs = datasets.Dataset.from_dict({"query": queries, "positive": queries})
    thresholds = {task.rule: task.value} if task.rule else {}
    form = {"output_format": "labeled-list", "verbose": False, "use_faiss": use_faiss}
    with contextlib.redirect_stderr(io.StringIO()):
        mined = library.util.mine_hard_negatives(
            pairs, Model(task), corpus=texts, num_negatives=task.k, **thresholds, **form
        )
    found = np.full((len(queries), task.k), -1)
    for query, (_, *negatives) in zip(mined["query"], mined["positive"]):
        found[int(query), : len(negatives)] = [int(negative) for negative in negatives]
    return found
