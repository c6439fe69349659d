"""What a call shares with the rest of the process: threads, forks, signals, memory."""

import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import hardneg
from conftest import normal

unix = pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")


def in_threads(count, work):
    """Runs `work(number)` on so many Python threads at once, and returns what they returned."""
    results, barrier = [None] * count, threading.Barrier(count)

    def run(number):
        barrier.wait()
        results[number] = work(number)

    threads = [threading.Thread(target=run, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return results


@pytest.mark.parametrize("threads", [1, 2])
def test_eight_threads_on_one_bank(threads):
    bank = hardneg.Bank(normal(3000, 64, 50))
    queries = [normal(50, 64, 51 + number) for number in range(8)]
    expected = [bank.mine(rows, 5, negatives="below").indices for rows in queries]

    def work(number):
        return [bank.mine(queries[number], 5, negatives="below", threads=threads).indices for _ in range(10)]

    for lists, own in zip(in_threads(8, work), expected):
        for indices in lists:
            np.testing.assert_array_equal(indices, own)


def test_reading_while_a_bank_changes():
    """Every answer is that of the bank before a change or after it."""
    bank = hardneg.Bank(normal(500, 32, 60))
    query = normal(1, 32, 61)

    def work(number):
        for _ in range(200):
            if number == 0:
                bank.add(query)
                bank.swap_remove(len(bank) - 1)
            else:
                mined = bank.mine(query, 1, positives=None)
                assert mined.indices[0, 0] == 500 or mined.similarities[0, 0] < 0.99
        return True

    assert in_threads(4, work) == [True] * 4
    assert len(bank) == 500


def test_other_threads_run_during_a_call():
    """A thread that counts makes progress while a call runs on another one: the GIL is free."""
    queries, corpus = normal(6000, 512, 62), normal(8000, 512, 63)
    done = threading.Event()

    def work():
        hardneg.mine(queries, corpus, 1, positives=None)
        done.set()

    thread = threading.Thread(target=work)
    thread.start()
    turns = 0
    while not done.is_set():
        time.sleep(0.001)
        turns += 1
    thread.join()
    # With the GIL held there would be one turn before the call, and one after it.
    assert turns > 5


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_no_more_threads_than_asked_for():
    code = """
import os, sys
sys.path.insert(0, {folder!r})
from conftest import normal
import hardneg
count = lambda: len(os.listdir("/proc/self/task"))
queries, corpus = normal(600, 128, 1), normal(4000, 128, 2)
before = count()
hardneg.mine(queries, corpus, 3)
assert count() == before
for threads in (3, 3, 2, 3):
    hardneg.mine(queries, corpus, 3, threads=threads)
    bank = hardneg.Bank(corpus, threads=threads)
    hardneg.triplet_loss(queries, queries + 1, threads=threads)
assert count() == before + 3 + 2, (count(), before)
"""
    run_python(code)


def run_python(code):
    code = code.format(folder=os.path.dirname(__file__))
    subprocess.run([sys.executable, "-c", code], check=True)


@unix
def test_a_forked_child_works():
    code = """
import os, sys, warnings
warnings.simplefilter("ignore")
sys.path.insert(0, {folder!r})
from conftest import normal
import hardneg
queries, corpus = normal(600, 128, 1), normal(4000, 128, 2)
bank = hardneg.Bank(corpus)
call = lambda threads: bank.mine(queries, 3, threads=threads).indices.tolist()
expected = call(2)
child = os.fork()
if child == 0:
    same = call(2) == expected and call(1) == expected and call(3) == expected
    grandchild = os.fork()
    if grandchild == 0:
        os._exit(0 if call(2) == expected else 1)
    os._exit(0 if same and os.waitpid(grandchild, 0)[1] == 0 else 1)
assert os.waitpid(child, 0)[1] == 0
assert call(2) == expected
"""
    run_python(code)


@unix
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", ["rows", "bank"])
def test_control_c_ends_a_long_call(way, threads):
    """The signal comes when the first piece of the queries is done; the call ends long before the last one."""
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # A shell ignores it in what it runs in the background.
sys.path.insert(0, FOLDER)
from conftest import normal
import hardneg
import numpy as np
queries, corpus = np.tile(normal(2000, 256, 1), (100, 1)), normal(50_000, 256, 2)
bank = hardneg.Bank(corpus)
options = dict(positives=None, threads=THREADS, progress=True)
try:
    bank.mine(queries, 100, **options) if WAY == "bank" else hardneg.mine(queries, corpus, 100, **options)
except KeyboardInterrupt:
    print("interrupted")
# What was interrupted leaves nothing behind.
assert len(bank.mine(queries[:3], 2, positives=None, threads=THREADS).indices) == 3
bank.add(queries[:1])
"""
    values = {"WAY": way, "THREADS": threads, "FOLDER": os.path.dirname(__file__)}
    for name, value in values.items():
        code = code.replace(name, repr(value))
    child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    shown = b""
    while b"queries" not in shown:
        read = os.read(child.stderr.fileno(), 1 << 12)
        assert read, shown
        shown += read
    child.send_signal(signal.SIGINT)
    output, rest = child.communicate()
    assert (output, child.returncode) == (b"interrupted\n", 0), rest
    done = [int(count) for count in re.findall(rb"mined (\d+) of 200000", shown + rest)]
    assert 0 < done[-1] < 200_000


@pytest.mark.skipif(not os.path.exists("/proc/self/statm"), reason="memory is read in /proc")
def test_ten_thousand_calls_take_no_memory(pairs):
    anchors, positives = pairs
    bank = hardneg.Bank(positives)
    labels, lists = np.arange(40) % 5, [[1, 2]] * 40

    def calls(count):
        for _ in range(count):
            hardneg.triplet_loss(anchors, positives, labels=labels)
            hardneg.triplet_loss_and_gradients(anchors, positives, exclude=lists)
            hardneg.mine(anchors, positives, 3, exclude=lists)
            bank.mine(anchors.astype(np.float64), 3)

    calls(500)
    before = resident()
    calls(10_000)
    assert resident() - before < 2 << 20


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize()


def test_a_large_shape_after_a_small_one():
    for rows in (10, 2000, 10, 300):
        anchors, positives = normal(rows, 40, 70), normal(rows, 40, 71)
        first = hardneg.triplet_loss(anchors, positives, negatives="any")
        again = hardneg.triplet_loss(anchors, positives, negatives="any", threads=2)
        assert first.loss == again.loss


def test_importing_takes_neither_torch_nor_threads():
    run_python("""
import sys
import hardneg
assert not {{"torch", "ray", "sentence_transformers"}} & set(sys.modules)
""")
