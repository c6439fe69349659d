"""What a library can be asked to do, and how long it takes."""

import math
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

from contenders.answer import Answer

FORWARD = "forward"
BOTH = "forward + backward"
SEARCH = "search"
# Parts of the job, of rows that were normalised before.
PRODUCT = "product"
PREPARED = "search of prepared rows"
# Runs that take less, in seconds, are timed several together: reading the clock takes some 60 ns.
CLOCKED = 2e-5


@dataclass(frozen=True)
class Job:
    """Work on a batch that is in memory: once to be timed, once with all that there is to compare."""

    run: Callable[[], object]
    answer: Callable[[], Answer]


def milliseconds(run: Callable[[], object], repeat: int) -> float:
    """The median time of a run, after one that warms the caches."""
    run()
    together = math.ceil(CLOCKED / _seconds(run, 1))
    return 1e3 * statistics.median(_seconds(run, together) for _ in range(repeat))


def _seconds(run: Callable[[], object], together: int) -> float:
    start = time.perf_counter()
    for _ in range(together):
        run()
    return (time.perf_counter() - start) / together
