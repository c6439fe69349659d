"""The modified triplet loss for PyTorch, on CPU tensors, and a miner for pytorch-metric-learning.

The loss and its gradients come from one call, which the forward pass makes; the backward pass scales them. Both are
custom operators, so that torch.compile keeps them in its graph.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

import hardneg

if TYPE_CHECKING:
    from hardneg._metric_learning import HardestNegatives

__all__ = ["HardestNegatives", "ModifiedTripletLoss"]


@torch.library.custom_op("hardneg::triplet_loss", mutates_args=(), device_types="cpu")
def _triplet_loss(
    anchors: Tensor,
    positives: Tensor,
    labels: Tensor | None,
    margin: float,
    negatives: str,
    reduction: str,
    threads: int,
    with_gradients: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """The loss, and its gradients, which are empty unless they are wanted.

    There are at least as many positives as anchors; those beyond are negatives of all anchors.
    """
    options: dict[str, Any] = {"margin": margin, "negatives": negatives, "reduction": reduction}
    options["labels"] = None if labels is None else labels.numpy(force=True)
    options["threads"] = threads or torch.get_num_threads()
    rows = anchors.numpy(force=True), positives.numpy(force=True)
    if len(positives) > len(anchors):
        rows, options["candidates"] = (rows[0], np.arange(len(anchors))), rows[1]
    if not with_gradients:
        loss = hardneg.triplet_loss(*rows, **options).loss
        return torch.tensor(loss, dtype=torch.float32), anchors.new_empty(0), anchors.new_empty(0)
    result = hardneg.triplet_loss_and_gradients(*rows, **options)
    by_positives = result.positive_gradients if result.candidate_gradients is None else result.candidate_gradients
    gradients = torch.from_numpy(result.anchor_gradients), torch.from_numpy(by_positives)
    return torch.tensor(result.loss, dtype=torch.float32), *gradients


@_triplet_loss.register_fake
def _(anchors, positives, labels, margin, negatives, reduction, threads, with_gradients):
    if not with_gradients:
        return anchors.new_empty(()), anchors.new_empty(0), anchors.new_empty(0)
    gradients = (torch.empty_like(rows, memory_format=torch.contiguous_format) for rows in (anchors, positives))
    return anchors.new_empty(()), *gradients


@torch.library.custom_op("hardneg::triplet_loss_backward", mutates_args=(), device_types="cpu")
def _triplet_loss_backward(
    upstream: Tensor, anchors: Tensor, positives: Tensor, by_anchors: Tensor, by_positives: Tensor
) -> tuple[Tensor, Tensor]:
    """The gradients times the upstream gradient. It takes the rows so that a second derivative arrives here."""
    return by_anchors * upstream, by_positives * upstream


@_triplet_loss_backward.register_fake
def _(upstream, anchors, positives, by_anchors, by_positives):
    return torch.empty_like(by_anchors), torch.empty_like(by_positives)


def _save(ctx, inputs, output):
    anchors, positives = inputs[:2]
    _, by_anchors, by_positives = output
    ctx.mark_non_differentiable(by_anchors, by_positives)
    ctx.set_materialize_grads(False)
    ctx.save_for_backward(anchors, positives, by_anchors, by_positives)
    ctx.has_gradients = inputs[7]


def _backward(ctx, upstream, _by_anchors, _by_positives):
    if upstream is None:
        return (None,) * 8
    if not ctx.has_gradients:
        raise RuntimeError("hardneg::triplet_loss was called without gradients, which are wanted now")
    return *torch.ops.hardneg.triplet_loss_backward(upstream, *ctx.saved_tensors), *(None,) * 6


def _refuse_double_backward(ctx, *upstream):
    raise NotImplementedError(
        "hardneg's triplet loss has no second derivative: its gradients are computed in the forward pass. "
        "Compute a gradient penalty from the plain formula in PyTorch instead"
    )


_triplet_loss.register_autograd(_backward, setup_context=_save)
_triplet_loss_backward.register_autograd(_refuse_double_backward)


class ModifiedTripletLoss(torch.nn.Module):
    """The modified triplet loss of a batch of pairs, with gradients, on the CPU.

    Args:
        margin: The margin of both hinges.
        negatives: Which negatives may be the closest: "below" (less similar than the positive), "at-or-below" or "any".
        reduction: "sum" or "mean" over the anchors.
        threads: How many threads may be used; None for as many as PyTorch uses.

    Call it with anchors and positives, (m, dim) each, row i of one belonging to row i of the other; every other row of
    the positives is a negative, unless `labels` (m integers) has the label of the anchor there. `further` (l, dim) are
    rows that are negatives of every anchor; they have no labels. Rows need not be normalised. Tensors of other
    floating-point types are computed in float32. Returns the loss, a float32 scalar.

    The choice of the closest negatives is a constant for the derivative. There is no second derivative.
    """

    def __init__(
        self,
        margin: float = 0.25,
        negatives: str = "below",
        reduction: str = "sum",
        *,
        threads: int | None = None,
    ) -> None:
        super().__init__()
        if negatives.replace("_", "-") not in ("below", "at-or-below", "any"):
            raise ValueError("negatives: expected below, at-or-below or any")
        if reduction not in ("sum", "mean"):
            raise ValueError("reduction: expected sum or mean")
        if threads is not None and threads < 1:
            raise ValueError(f"threads: expected at least 1, got {threads}")
        self.margin, self.negatives, self.reduction, self.threads = float(margin), negatives, reduction, threads

    def forward(
        self, anchors: Tensor, positives: Tensor, labels: Tensor | None = None, *, further: Tensor | None = None
    ) -> Tensor:
        _check_device(anchors, positives, labels, further)
        if anchors.shape != positives.shape:
            raise ValueError(f"positives: expected the shape {tuple(anchors.shape)}, got {tuple(positives.shape)}")
        if further is not None:
            if labels is not None:
                raise ValueError("labels and further: expected one of them")
            positives = torch.cat([positives, further])
        wanted = torch.is_grad_enabled() and (anchors.requires_grad or positives.requires_grad)
        rows = anchors.to(torch.float32), positives.to(torch.float32)
        options = (self.margin, self.negatives, self.reduction, self.threads or 0, wanted)
        return torch.ops.hardneg.triplet_loss(*rows, labels, *options)[0]

    def extra_repr(self) -> str:
        threads = "" if self.threads is None else f", threads={self.threads}"
        return f"margin={self.margin}, negatives={self.negatives!r}, reduction={self.reduction!r}{threads}"


def _check_device(*tensors: Tensor | None) -> None:
    for tensor in tensors:
        if tensor is not None and tensor.device.type != "cpu":
            raise ValueError(
                f"hardneg computes on the CPU, and got a tensor on {tensor.device}: "
                "move the embeddings there with .cpu(), through which gradients flow back"
            )


def __getattr__(name: str) -> Any:
    if name == "HardestNegatives":
        from hardneg._metric_learning import HardestNegatives

        return HardestNegatives
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
