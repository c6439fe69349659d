"""Times of the package, each as the median of calls in turns with what it is compared with. For a quiet machine:

    python python/benchmark.py

Rows are random. What needs PyTorch is left out where it is not installed.
"""

import importlib.util
import os
import statistics
import subprocess
import sys
import time

import numpy as np

import hardneg


def normal(rows, dim, seed):
    return np.random.default_rng(seed).standard_normal((rows, dim), dtype=np.float32)


def medians(seconds, *calls):
    """The median time of each call in microseconds. The calls take turns for so many seconds in all."""
    times = [[] for _ in calls]
    for call in calls:
        call()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 5:
        for call, own in zip(calls, times):
            start = time.perf_counter()
            call()
            own.append(time.perf_counter() - start)
    return [statistics.median(own) * 1e6 for own in times]


def imports():
    code = "import numpy, time; start = time.perf_counter(); import hardneg; print(time.perf_counter() - start)"
    times = [float(subprocess.check_output([sys.executable, "-c", code])) * 1e3 for _ in range(11)]
    print(f"import hardneg, beyond NumPy: {statistics.median(times):.2f} ms")


def small_calls():
    """A call of two pairs of one element is nearly nothing but the way from Python to the crate and back."""
    pair, batch = (normal(2, 1, 1), normal(2, 1, 2)), (normal(32, 128, 3), normal(32, 128, 4))
    least, call = medians(2, lambda: hardneg.triplet_loss(*pair), lambda: hardneg.triplet_loss(*batch))
    print(f"triplet_loss of 2 x 2 x 1: {least:.2f} us, of 32 x 32 x 128: {call:.2f} us")


def mining():
    queries, corpus = normal(4096, 384, 5), normal(16384, 384, 6)
    [call] = medians(5, lambda: hardneg.mine(queries, corpus, 10, positives=None))
    print(f"mine 4096 x 16384 x 384, k = 10, 1 thread: {call / 1e3:.1f} ms")


def training():
    import torch
    from hardneg.torch import ModifiedTripletLoss

    torch.set_num_threads(1)
    anchors = torch.from_numpy(normal(1024, 768, 7)).requires_grad_()
    positives = torch.from_numpy(normal(1024, 768, 7) + normal(1024, 768, 8)).requires_grad_()

    def plain(anchors, positives, margin=0.25):
        unit = torch.nn.functional.normalize
        similarities = unit(anchors) @ unit(positives).T
        positive = similarities.diagonal()
        mean = (similarities.sum(1) - positive) / (len(anchors) - 1)
        closest = similarities.masked_fill(similarities >= positive[:, None], -2.0).max(1).values
        return ((mean - positive + margin).relu() + (closest - positive + margin).relu()).sum()

    def step(loss):
        anchors.grad = positives.grad = None
        loss(anchors, positives).backward()

    own = ModifiedTripletLoss(margin=0.25)
    assert torch.isclose(own(anchors, positives), plain(anchors, positives), rtol=1e-4)
    ours, theirs = medians(12, lambda: step(own), lambda: step(plain))
    print(
        f"forward and backward, 1024 x 1024 x 768, 1 thread: {ours / 1e3:.2f} ms, "
        f"PyTorch {torch.__version__} {theirs / 1e3:.2f} ms ({theirs / ours:.1f} x)"
    )


if __name__ == "__main__":
    print(f"{hardneg.backend()}, NumPy {np.__version__}, {os.cpu_count()} CPUs")
    imports()
    small_calls()
    mining()
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: its loss was not compared")
    else:
        training()
