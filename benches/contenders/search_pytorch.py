"""PyTorch: one product, and the largest of every row."""

import torch
from torch import Tensor

from contenders.answer import Answer
from contenders.catalogue import Catalogue
from contenders.job import SEARCH, Job


def version() -> str:
    """PyTorch's version and its instruction set."""
    return f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"


def jobs(catalogue: Catalogue, threads: int) -> dict[str, Job]:
    """The product and the search in it."""
    torch.set_num_threads(threads)
    anchors, candidates = (torch.from_numpy(side) for side in catalogue.load())

    def closest(rows: Tensor) -> Tensor:
        with torch.inference_mode():
            scores = rows @ candidates.T
            scores.fill_diagonal_(-torch.inf)
            return scores.max(dim=1).indices

    some = anchors[: catalogue.count]
    return {
        SEARCH: Job(
            run=lambda: closest(some),
            answer=lambda: Answer(closest=closest(anchors).numpy(), any_negative=True),
        )
    }
