"""Every library in a process of its own: with its own threads, and without a bad end for the others."""

import importlib
import os
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context

from contenders import job
from contenders.answer import Answer
from contenders.batch import Batch


class Unavailable(Exception):
    """Why a contender cannot take part."""


def set_threads(threads: int) -> None:
    """Sets the threads of all processes started from here on; most libraries read this once, when they are loaded."""
    for library in ("OMP", "MKL", "OPENBLAS", "RAYON"):
        os.environ[f"{library}_NUM_THREADS"] = str(threads)


class Process:
    """A module of this folder, loaded in another process with a batch in its memory."""

    def __init__(self, module: str, batch: Batch, threads: int) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=get_context("spawn"))
        try:
            self.version = self._call(_open, module, batch, threads)
        except Unavailable:
            self._pool.shutdown()
            raise

    def answer(self, name: str) -> Answer:
        """What a job computes."""
        return self._call(_answer, name)

    def milliseconds(self, name: str, repeat: int) -> float:
        """The median time of a job."""
        return self._call(_milliseconds, name, repeat)

    def __enter__(self) -> "Process":
        return self

    def __exit__(self, *_) -> None:
        self._pool.shutdown()

    def _call(self, function, *arguments):
        try:
            return self._pool.submit(function, *arguments).result()
        except BrokenProcessPool:
            raise Unavailable("its process ended unexpectedly") from None


# What follows runs in the other process.

_jobs: dict[str, job.Job] = {}


def _open(module: str, batch: Batch, threads: int) -> str:
    try:
        library = importlib.import_module(f"contenders.{module}")
        _jobs.update(library.jobs(batch, threads))
        return library.version()
    except ImportError as error:
        raise Unavailable(f"not installed ({_one_line(error)})") from None


def _answer(name: str) -> Answer:
    # What the library raises may be of a class that the other side cannot load.
    try:
        return _jobs[name].answer()
    except Exception as error:
        raise Unavailable(_one_line(error)) from None


def _milliseconds(name: str, repeat: int) -> float:
    return job.milliseconds(_jobs[name].run, repeat)


def _one_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__)
