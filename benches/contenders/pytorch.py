"""PyTorch, eager and compiled: the matrix of all similarities, with no more passes over it than are needed.

The forward pass takes the maximum with `amax`, training with `max`: each is the faster of the two there.
"""

import os
import shutil
import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from contenders.answer import Answer, any_closest
from contenders.batch import Batch
from contenders.job import BOTH, FORWARD, PRODUCT, Job

COMPILED = "compiled "

Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def version() -> str:
    """PyTorch's version, its instruction set and the compiler of torch.compile."""
    compiler = os.environ.get("CXX", "g++")
    found = compiler if shutil.which(compiler) else f"{compiler} (not found)"
    return f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()}; torch.compile with {found})"


def jobs(batch: Batch, threads: int) -> dict[str, Job]:
    """Both passes, each eager and compiled, and the product alone."""
    # What it says of its own internals while it compiles is of no use here.
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(threads)
    sides = tuple(torch.from_numpy(side) for side in batch.load())
    forward, training = steps(batch.margin)
    return {
        **passes("", sides, forward, training),
        **passes(COMPILED, sides, torch.compile(forward, dynamic=False), torch.compile(training, dynamic=False)),
        PRODUCT: product(*sides),
    }


def product(anchors: Tensor, positives: Tensor) -> Job:
    """All cosines, of rows that are normalised before, into a matrix that is there."""
    rows, columns = functional.normalize(anchors, dim=1), functional.normalize(positives, dim=1).T
    scores = torch.empty(len(anchors), len(positives))
    return Job(
        run=lambda: torch.mm(rows, columns, out=scores),
        answer=lambda: any_closest(torch.mm(rows, columns, out=scores).clone().numpy()),
    )


def steps(margin: float) -> tuple[Step, Step]:
    """The loss and the losses of the rows; for training, also the indices of the closest negatives."""

    def forward(anchors: Tensor, positives: Tensor) -> tuple[Tensor, Tensor]:
        scores, positive, negatives = similarities(anchors, positives)
        losses = hinges(scores, positive, negatives.amax(dim=1), margin)
        return losses.sum(), losses

    def training(anchors: Tensor, positives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        scores, positive, negatives = similarities(anchors, positives)
        closest = negatives.max(dim=1)
        losses = hinges(scores, positive, closest.values, margin)
        return losses.sum(), losses, closest.indices.where(closest.values > -2, -1)

    return forward, training


def similarities(anchors: Tensor, positives: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All cosines, those of the positives, and those of the negatives that may be the closest (others: -2)."""
    scores = functional.normalize(anchors, dim=1) @ functional.normalize(positives, dim=1).T
    positive = scores.diagonal()
    excluded = (scores > positive[:, None]) | torch.eye(*scores.shape, dtype=torch.bool)
    return scores, positive, scores.masked_fill(excluded, -2)


def hinges(scores: Tensor, positive: Tensor, closest: Tensor, margin: float) -> Tensor:
    """The loss of every row."""
    mean = (scores.sum(dim=1) - positive) / (scores.shape[1] - 1)
    return (mean - positive + margin).relu() + (closest - positive + margin).relu()


def passes(prefix: str, sides: tuple[Tensor, ...], forward: Step, training: Step) -> dict[str, Job]:
    """The jobs of one way to run PyTorch."""
    return {
        prefix + FORWARD: Job(
            run=lambda: without_gradients(forward, sides),
            answer=lambda: Answer(without_gradients(forward, sides)[1].numpy()),
        ),
        prefix + BOTH: Job(
            run=lambda: with_gradients(training, sides),
            answer=lambda: training_answer(*with_gradients(training, sides)),
        ),
    }


def without_gradients(forward: Step, sides: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """The forward pass alone."""
    with torch.no_grad():
        return forward(*sides)


def with_gradients(training: Step, sides: tuple[Tensor, ...]) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """What the forward pass returns, and the gradients by both sides."""
    leaves = tuple(side.detach().requires_grad_() for side in sides)
    result = training(*leaves)
    return result, torch.autograd.grad(result[0], leaves)


def training_answer(result: tuple[Tensor, ...], gradients: tuple[Tensor, ...]) -> Answer:
    """The same as arrays."""
    _, losses, closest = result
    by_anchors, by_positives = (gradient.numpy() for gradient in gradients)
    return Answer(losses.detach().numpy(), closest.numpy(), (by_anchors, by_positives))
