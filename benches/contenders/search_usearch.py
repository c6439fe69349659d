"""usearch: its exact search, which needs no index."""

import numpy as np
import usearch
from usearch.index import MetricKind, search

from contenders.answer import Answer
from contenders.catalogue import Catalogue
from contenders.job import SEARCH, Job
from contenders.neighbours import NEIGHBOURS, closest


def version() -> str:
    """The version of usearch."""
    return f"usearch {usearch.__version__}"


def jobs(catalogue: Catalogue, threads: int) -> dict[str, Job]:
    """The search."""
    anchors, candidates = catalogue.load()

    def found(rows: np.ndarray) -> np.ndarray:
        return search(candidates, rows, NEIGHBOURS, MetricKind.IP, exact=True, threads=threads).keys

    some = anchors[: catalogue.count]
    return {
        SEARCH: Job(
            run=lambda: found(some),
            answer=lambda: Answer(closest=closest(found(anchors).astype(np.int64)), any_negative=True),
        )
    }
