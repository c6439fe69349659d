"""What a library can be asked to do, and how long it takes."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from contenders.answer import Answer

FORWARD = "forward"
BOTH = "forward + backward"
SEARCH = "search"


@dataclass(frozen=True)
class Job:
    """Work on a batch that is in memory: once to be timed, once with all that there is to compare."""

    run: Callable[[], object]
    answer: Callable[[], Answer]


def milliseconds(run: Callable[[], object], repeat: int) -> float:
    """The median time of some runs, after one that warms the caches."""
    run()
    return 1e3 * statistics.median(_seconds(run) for _ in range(repeat))


def _seconds(run: Callable[[], object]) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
