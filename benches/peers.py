#!/usr/bin/env python3
"""The loss beside what people use for it today, on the same files and as many threads.

    pip install -r benches/requirements.txt && python benches/peers.py

First all losses and gradients are compared. Then each contender runs in turn, for several rounds that each begin with
another one, every library in a process of its own; a round is the median of many runs in memory, without the start of
a process and without files. The result is a table in Markdown on the standard output. What is not installed is left
out, and named.

With --latency: single calls, also of few anchors among many candidates, beside whole jobs and parts of them.
With --bank: calls against candidates that were prepared before, beside searches and products of such.
"""

import argparse
import csv
import os
import platform
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

try:
    from contenders import answer, bank_bench, bench, crate, job, machine, report
except ImportError as error:
    sys.exit(f"{error}: pip install -r benches/requirements.txt")

from contenders.bank_bench import BankBench
from contenders.batch import Batch, random_batch
from contenders.bench import Bench
from contenders.catalogue import QUESTIONS, Catalogue, random_catalogue
from contenders.crate import Crate, SingleCalls
from contenders.turns import Contender, Libraries, Setting

SHAPES = "32x128,1024x128,1024x768,4096x768"
CALL_SHAPES = ",".join(
    "1x64x128 1x1024x128 1x1024x384 1x1024x768 1x16384x128 1x16384x768 4x1024x128 4x1024x768 8x16384x768 32x16384x768 "
    "2x2x128 4x4x128 8x8x128 16x16x128 32x32x128 32x32x384 32x32x768 64x64x128 64x64x768 128x128x128 "
    "128x128x768".split()
)
BANK_SHAPES = "1x1024x128,1x16384x768,1x98304x768,8x98304x768,32x98304x768"


def main() -> None:
    """Measures every shape on every number of threads, and prints the table."""
    args = parse()
    with tempfile.TemporaryDirectory() as folder:
        # What torch.compile builds goes with the random batches.
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = folder
        measure = measure_banks if args.bank else measure_calls if args.latency else measure_batches
        settings = measure(args, Path(folder))
    if args.csv:
        write_rounds(args.csv, settings)


def measure_batches(args: argparse.Namespace, folder: Path) -> list[Setting]:
    """The whole job."""
    measuring = Bench(partial(Crate, crate.build("hardneg-cli")), bench.CONTENDERS, args.rounds)
    return measure_and_report(args, measuring, folder, [])


def measure_calls(args: argparse.Namespace, folder: Path) -> list[Setting]:
    """Single calls: the whole job, and parts of it."""
    programs = (crate.build(package) for package in ("hardneg-cli", "hardneg-compare"))
    measuring = Bench(partial(SingleCalls, *programs), bench.CALLS, args.rounds)
    notes = [
        'Contenders called "forward" do the whole job, from rows that are not normalised. The others get theirs '
        "normalised, FAISS in an index, before the clock starts: they do a part of the job.",
        "Everybody repeats one call, so that rows that fit into a cache are there; calls of less than "
        f"{1e6 * job.CLOCKED:g} us are timed several together. A call of a library includes what Python takes for it, "
        "about a microsecond for every operation on arrays: a product is one, a whole job is a dozen or two.",
    ]
    return measure_and_report(args, measuring, folder, notes)


def measure_and_report(args: argparse.Namespace, measuring: Bench, folder: Path, notes: list[str]) -> list[Setting]:
    """Measures every batch on every number of threads, and prints the table."""
    settings = [measuring.measure(batch, threads) for batch in batches(args, folder) for threads in args.threads]
    notes = [
        *notes,
        f"Rule: at or below the positive; margin {args.margin}. FAISS searches the two most similar rows, of which one "
        "is the closest of all negatives: no rule, no mean, no loss, no gradient.",
        f"Compared before anything was timed: losses of the rows to {answer.LOSS_TOLERANCE:g} and gradients to "
        f"{answer.GRADIENT_TOLERANCE:g} of the largest. Rows with another closest negative, all of them near ties: "
        f"{report.near_ties(settings)}.",
    ]
    print_report(args, settings, measuring.contenders, measuring.libraries, notes)
    return settings


def measure_banks(args: argparse.Namespace, folder: Path) -> list[Setting]:
    """Calls against candidates that were prepared before."""
    measuring = BankBench(crate.build("hardneg-compare"), args.rounds)
    settings = [measuring.measure(each, threads) for each in catalogues(args, folder) for threads in args.threads]
    wrong = "; ".join(f"{count} of {QUESTIONS} at {shape}" for shape, count in measuring.wrong.items())
    notes = [
        "Everybody's candidates are prepared before the clock starts, and everybody finds the most similar one other "
        "than the positive. hardneg also normalises the anchors, and computes the mean and the loss.",
        f"Answers for {QUESTIONS} anchors were compared before anything was timed. Near ties with another answer, for "
        f"{answer.NEAR:g}: {report.near_ties(settings)}.",
        f"Wrong answers of {bank_bench.EIGHT_BITS}: {wrong or 'none'}.",
    ]
    print_report(args, settings, bank_bench.CONTENDERS, measuring.libraries, notes)
    return settings


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    calls = parser.add_mutually_exclusive_group()
    calls.add_argument("--latency", action="store_true", help="single calls, of few anchors and of small batches")
    calls.add_argument("--bank", action="store_true", help="calls against candidates that were prepared before")
    data = parser.add_mutually_exclusive_group()
    sizes = (
        f"random batches, ROWSxDIM (default: {SHAPES}), with --latency or --bank ANCHORSxROWSxDIM (default: "
        f"{CALL_SHAPES}, and {BANK_SHAPES})"
    )
    data.add_argument("--shapes", type=shapes, help=sizes)
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
    if args.bank and args.data:
        parser.error("--bank: of random candidates only")
    args.shapes = args.shapes or shapes(BANK_SHAPES if args.bank else CALL_SHAPES if args.latency else SHAPES)
    if wrong := [sizes for sizes in args.shapes if not is_shape(sizes, args)]:
        parser.error(f"--shapes: {'x'.join(map(str, wrong[0]))} is no shape here")
    return args


def shapes(text: str) -> list[tuple[int, ...]]:
    """The sizes of every shape."""
    return [tuple(positive(size) for size in shape.split("x")) for shape in text.split(",")]


def is_shape(sizes: tuple[int, ...], args: argparse.Namespace) -> bool:
    """Whether these are the sizes of a batch, or with --latency or --bank of a call."""
    if args.bank:
        return len(sizes) == 3 and sizes[0] <= QUESTIONS < sizes[1]
    if args.latency:
        return len(sizes) == 3 and sizes[0] <= sizes[1] >= 2
    return len(sizes) == 2 and sizes[0] >= 2


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
            batch.sizes()
        except (OSError, ValueError) as error:
            sys.exit(str(error))
        yield batch
        return
    for *rows, dim in args.shapes:
        yield random_batch(folder, rows[0], rows[-1], dim, args.margin)


def catalogues(args: argparse.Namespace, folder: Path) -> Iterator[Catalogue]:
    """Random anchors and candidates."""
    for count, candidates, dim in args.shapes:
        yield random_catalogue(folder, count, candidates, dim)


def print_report(
    args: argparse.Namespace,
    settings: list[Setting],
    contenders: list[Contender],
    libraries: Libraries,
    notes: list[str],
) -> None:
    """The table, and below it what it says, of what, on what."""
    print(*report.table(settings, {each.title: each.base for each in contenders}), sep="\n")
    notes = [
        f"Times are medians of {args.rounds} rounds; in brackets, as multiples of hardneg's time for the same. "
        "Spread: the largest difference between two rounds of a contender, as a share of their median.",
        *notes,
        f"Machine: {machine.describe()}.",
        f"Versions: Python {platform.python_version()}; {'; '.join(libraries.versions.values())}.",
        *(f"Not run: {name}, {why}" for name, why in libraries.missing.items()),
    ]
    print("", *(f"- {note}" for note in notes), sep="\n")


def write_rounds(path: Path, settings: list[Setting]) -> None:
    """A line for every round of every contender."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([*settings[0].sizes, "threads", "contender", "round", "milliseconds"])
        for setting in settings:
            for title, rounds in setting.rounds.items():
                for number, milliseconds in enumerate(rounds):
                    writer.writerow([*setting.sizes.values(), setting.threads, title, number, milliseconds])


if __name__ == "__main__":
    main()
