"""FAISS: the exact flat index, and the one of 8 bits an element, which is not exact."""

from contenders.answer import Answer
from contenders.catalogue import Catalogue
from contenders.flat_search import faiss, version  # noqa: F401
from contenders.job import SEARCH, Job
from contenders.neighbours import NEIGHBOURS, closest


def jobs(catalogue: Catalogue, threads: int) -> dict[str, Job]:
    """A search in each index."""
    faiss.omp_set_num_threads(threads)
    anchors, candidates = catalogue.load()
    dim = candidates.shape[1]
    flat = faiss.IndexFlatIP(dim)
    eight_bits = faiss.IndexScalarQuantizer(dim, faiss.ScalarQuantizer.QT_8bit, faiss.METRIC_INNER_PRODUCT)
    for index in (flat, eight_bits):
        index.train(candidates)
        index.add(candidates)
    some = anchors[: catalogue.count]
    return {
        name: Job(
            run=lambda index=index: index.search(some, NEIGHBOURS),
            answer=lambda index=index: Answer(closest=closest(index.search(anchors, NEIGHBOURS)[1]), any_negative=True),
        )
        for name, index in ((SEARCH, flat), ("8 bits", eight_bits))
    }
