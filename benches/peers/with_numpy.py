"""NumPy: the loss the way the course's lab writes it, and a product with rows that are kept."""

import numpy as np

from task import MARGIN, Job, Task, without_positive


def version() -> str:
    """NumPy's version, and what multiplies its matrices."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return f"NumPy {np.__version__} ({blas['name']} {blas['version']})"


def jobs(task: Task, threads: int) -> dict[str, Job]:
    """The whole job, or the search. The environment has set the threads."""
    del threads
    anchors, candidates = task.anchors, task.candidates
    if task.kind == "loss":
        run = lambda: losses(anchors, candidates)  # noqa: E731
        return {"NumPy": Job(lambda: run().sum(), lambda: task.check_losses(run()))}
    if task.kind == "bank":
        some = anchors[: task.count]
        closest = lambda rows: without_positive(rows @ candidates.T)  # noqa: E731
        return {"NumPy": Job(lambda: closest(some), lambda: task.check_closest(closest(anchors)))}
    return {}


def losses(anchors: np.ndarray, positives: np.ndarray) -> np.ndarray:
    """The loss of every row: the matrix of all similarities, and masks over it."""
    scores = normalised(anchors) @ normalised(positives).T
    positive = scores.diagonal()
    eye = np.eye(*scores.shape, dtype=np.float32)
    mean_negative = (scores * (1 - eye)).sum(axis=1) / np.float32(scores.shape[1] - 1)
    qualifies = scores <= positive[:, np.newaxis]
    closest_negative = np.where(qualifies, scores - 2 * eye, np.float32(-2)).max(axis=1)
    margin = np.float32(MARGIN)
    return np.maximum(mean_negative - positive + margin, 0) + np.maximum(closest_negative - positive + margin, 0)


def normalised(rows: np.ndarray) -> np.ndarray:
    """Rows of length 1; a zero row stays one."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float32).tiny)
