"""PyTorch, eager and compiled: the matrix of all similarities, with no more passes over it than are needed.

The forward pass takes the maximum with `amax`, training with `max`: each is the faster of the two there.
"""

import warnings
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from task import MARGIN, Job, Task

# Calls on fewer multiply-adds are not worth the time that compiling takes.
COMPILED = 1 << 26

Step = Callable[[Tensor, Tensor], tuple[Tensor, ...]]


def version() -> str:
    """PyTorch's version and its instruction set."""
    return f"PyTorch {torch.__version__} ({torch.backends.cpu.get_cpu_capability()})"


def jobs(task: Task, threads: int) -> dict[str, Job]:
    """Both passes, each eager and compiled, or the search."""
    # What it says of its own internals while it compiles is of no use here.
    warnings.filterwarnings("ignore", category=FutureWarning)
    torch.set_num_threads(threads)
    sides = tuple(torch.from_numpy(side) for side in (task.anchors, task.candidates))
    if task.kind == "bank":
        return {"PyTorch": search(task, *sides)}
    if task.kind == "mining":
        return {}
    both = passes(task, "PyTorch", sides, forward, training)
    if task.anchors.size * len(task.candidates) >= COMPILED:
        steps = (torch.compile(step, dynamic=False) for step in (forward, training))
        both |= passes(task, "torch.compile", sides, *steps)
    return both


def search(task: Task, anchors: Tensor, candidates: Tensor) -> Job:
    """A product, and the largest of every row."""

    def closest(rows: Tensor) -> Tensor:
        with torch.inference_mode():
            scores = rows @ candidates.T
            scores.fill_diagonal_(-torch.inf)
            return scores.max(dim=1).indices

    some = anchors[: task.count]
    return Job(lambda: closest(some), lambda: task.check_closest(closest(anchors).numpy()))


def forward(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The loss, and the losses of the rows."""
    scores, positive, negatives = similarities(anchors, candidates)
    losses = hinges(scores, positive, negatives.amax(dim=1))
    return losses.sum(), losses


def training(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor]:
    """The same, for a backward pass."""
    scores, positive, negatives = similarities(anchors, candidates)
    losses = hinges(scores, positive, negatives.max(dim=1).values)
    return losses.sum(), losses


def similarities(anchors: Tensor, candidates: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """All cosines, those of the positives, and those of the negatives that may be the closest (others: -2)."""
    scores = functional.normalize(anchors, dim=1) @ functional.normalize(candidates, dim=1).T
    positive = scores.diagonal()
    excluded = (scores > positive[:, None]) | torch.eye(*scores.shape, dtype=torch.bool)
    return scores, positive, scores.masked_fill(excluded, -2)


def hinges(scores: Tensor, positive: Tensor, closest: Tensor) -> Tensor:
    """The loss of every row."""
    mean = (scores.sum(dim=1) - positive) / (scores.shape[1] - 1)
    return (mean - positive + MARGIN).relu() + (closest - positive + MARGIN).relu()


def passes(task: Task, name: str, sides: tuple[Tensor, ...], forward: Step, training: Step) -> dict[str, Job]:
    """The jobs of one way to run PyTorch."""

    def without_gradients() -> Tensor:
        with torch.no_grad():
            return forward(*sides)[1]

    def with_gradients() -> tuple[Tensor, tuple[Tensor, ...]]:
        leaves = tuple(side.detach().requires_grad_() for side in sides)
        loss, losses = training(*leaves)
        return losses, torch.autograd.grad(loss, leaves)

    def check() -> dict[str, int]:
        losses, gradients = with_gradients()
        task.check_gradients(tuple(gradient.numpy() for gradient in gradients))
        return task.check_losses(losses.detach().numpy())

    return {
        name: Job(without_gradients, lambda: task.check_losses(without_gradients().numpy())),
        f"{name}, with gradients": Job(with_gradients, check),
    }
