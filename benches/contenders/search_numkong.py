"""NumKong: a product with packed candidates, in `f32` or wider, and the largest of every row."""

from concurrent.futures import ThreadPoolExecutor

import numkong
import numpy as np

from contenders.answer import Answer
from contenders.catalogue import Catalogue
from contenders.job import SEARCH, Job


def version() -> str:
    """The version of NumKong, and which kernels it may take."""
    kernels = [name for name, is_there in numkong.get_capabilities().items() if is_there]
    return f"NumKong {numkong.__version__} ({', '.join(kernels)})"


def jobs(catalogue: Catalogue, threads: int) -> dict[str, Job]:
    """The product and the search in it; each thread has its share of the candidates."""
    anchors, candidates = catalogue.load()
    packed = [numkong.dots_pack(part) for part in np.array_split(candidates, threads)]
    pool = ThreadPoolExecutor(threads)

    def closest(rows: np.ndarray) -> np.ndarray:
        parts = pool.map(lambda part: numkong.dots_packed(rows, part), packed)
        scores = np.hstack([np.asarray(part) for part in parts])
        np.fill_diagonal(scores, -np.inf)
        return scores.argmax(axis=1)

    some = anchors[: catalogue.count]
    return {
        SEARCH: Job(
            run=lambda: closest(some),
            answer=lambda: Answer(closest=closest(anchors), any_negative=True),
        )
    }
