#!/usr/bin/env python3
"""The loss beside what people use for it today, on the same files and as many threads.

    pip install -r benches/requirements.txt && python benches/peers.py

First all losses and gradients are compared. Then each contender runs in turn, for several rounds that each begin with
another one, every library in a process of its own; a round is the median of many runs in memory, without the start of
a process and without files. The result is a table in Markdown on the standard output. What is not installed is left
out, and named.
"""

import argparse
import csv
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

try:
    from contenders import answer, crate, machine, report
except ImportError as error:
    sys.exit(f"{error}: pip install -r benches/requirements.txt")

from contenders.batch import Batch, random_batch
from contenders.bench import CONTENDERS, Bench, Setting

SHAPES = "32x128,1024x128,1024x768,4096x768"


def main() -> None:
    """Measures every shape on every number of threads, and prints the table."""
    args = parse()
    bench = Bench(crate.build(), args.rounds)
    with tempfile.TemporaryDirectory() as folder:
        # What torch.compile builds goes with the random batches.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        settings = [bench.measure(batch, threads) for batch in batches(args, Path(folder)) for threads in args.threads]
    print_report(args, bench, settings)
    if args.csv:
        write_rounds(args.csv, settings)


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    data = parser.add_mutually_exclusive_group()
    data.add_argument("--shapes", type=shapes, default=SHAPES, help=f"random batches, ROWSxDIM (default: {SHAPES})")
    data.add_argument("--data", type=Path, nargs=2, metavar=("A.npy", "P.npy"), help="these files instead")
    cores = os.cpu_count() or 1
    threads = sorted({1, cores})
    parser.add_argument("--threads", type=positive, nargs="+", default=threads, help="default: 1 and all cores")
    parser.add_argument("--rounds", type=positive, default=5, help="turns of every contender (default: 5)")
    # With 1 every hinge of a random batch is active, as at the start of training: all of the backward pass is done.
    parser.add_argument("--margin", type=float, default=1.0, help="margin of the loss, at most 1 (default: 1)")
    parser.add_argument("--csv", type=Path, metavar="OUT.csv", help="write the times of all rounds to this file")
    args = parser.parse_args()
    if not args.margin <= 1:
        parser.error("--margin: above 1 the lab's code counts rows that have no closest negative")
    return args


def shapes(text: str) -> list[tuple[int, int]]:
    """Pairs of rows and elements of a row."""
    pairs = [tuple(positive(size) for size in shape.split("x")) for shape in text.split(",")]
    if any(len(pair) != 2 or pair[0] < 2 for pair in pairs):
        raise argparse.ArgumentTypeError("a shape is ROWSxDIM, of 2 rows or more")
    return pairs


def positive(text: str) -> int:
    """A number above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not above 0")
    return value


def batches(args: argparse.Namespace, folder: Path) -> Iterator[Batch]:
    """The files that were given, or random ones."""
    if args.data:
        batch = Batch(*args.data, args.margin)
        try:
            batch.shape()
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        yield batch
        return
    for rows, dim in args.shapes:
        yield random_batch(folder, rows, dim, args.margin)


def print_report(args: argparse.Namespace, bench: Bench, settings: list[Setting]) -> None:
    """The table, and below it what it says, of what, on what."""
    print(*report.table(settings, {each.title: each.base for each in CONTENDERS}), sep="\n")
    notes = [
        f"Milliseconds, the median of {args.rounds} rounds; in brackets, as a multiple of hardneg's time for the same. "
        "Spread: the largest difference between two rounds of a contender, as a share of their median.",
        f"Rule: at or below the positive; margin {args.margin}. FAISS searches the two most similar rows, of which one "
        "is the closest of all negatives: no rule, no mean, no loss, no gradient.",
        f"Compared before anything was timed: losses of the rows to {answer.LOSS_TOLERANCE:g} and gradients to "
        f"{answer.GRADIENT_TOLERANCE:g} of the largest. Rows with another closest negative, all of them near ties: "
        f"{report.near_ties(settings)}.",
        f"Machine: {machine.describe()}.",
        f"Versions: Python {platform.python_version()}; {'; '.join(bench.versions.values())}.",
        *(f"Not run: {name}, {why}" for name, why in bench.missing.items()),
    ]
    print("", *(f"- {note}" for note in notes), sep="\n")


def write_rounds(path: Path, settings: list[Setting]) -> None:
    """A line for every round of every contender."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["rows", "dim", "threads", "contender", "round", "milliseconds"])
        for setting in settings:
            for title, rounds in setting.rounds.items():
                for number, milliseconds in enumerate(rounds):
                    writer.writerow([setting.rows, setting.dim, setting.threads, title, number, milliseconds])


if __name__ == "__main__":
    main()
