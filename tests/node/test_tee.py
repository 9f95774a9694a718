"""A tee: all readers get every byte that was read, once and in order, as fast as the slowest of them reads."""

import contextlib
import os
import random
import threading

import pytest

from sensor.node.tee import Recorded, Tee

PATIENCE_S = 20.0
DATA = random.Random(1).randbytes(5_000_000)


def read_all(outlet, size=65536, at_most=1 << 30):
    data = b""
    while len(data) < at_most and (more := os.read(outlet, size)):
        data += more
    return data


def feed(data):
    """A descriptor that gives the data in pieces of any size, as writers make them."""
    outlet, inlet = os.pipe()

    def write():
        rng, at = random.Random(2), 0
        while at < len(data):
            at += os.write(inlet, data[at : at + rng.randint(1, 200_000)])  # to a tee that has ended, for ever
        os.close(inlet)

    threading.Thread(target=write, daemon=True).start()
    return recorded(outlet)


def recorded(number):
    return Recorded(os.fdopen(number, "rb", buffering=0, closefd=False))


class Readers:
    """Threads that read some outlets to their ends."""

    def __init__(self, outlets):
        self.data = {}
        self._threads = [threading.Thread(target=self._read, args=(each,), daemon=True) for each in outlets]
        for each in self._threads:
            each.start()

    def _read(self, outlet):
        self.data[outlet] = read_all(outlet)
        os.close(outlet)

    def wait(self):
        for each in self._threads:
            each.join(PATIENCE_S)
            assert not each.is_alive()
        return list(self.data.values())


@pytest.fixture
def faults():
    return []


@pytest.mark.parametrize("count", [1, 2, 4, 16])
def test_every_reader_gets_all_bytes_in_order(count, faults):
    tee = Tee(feed(DATA), count, faults.append)
    tee.start()
    assert Readers(tee.outlets).wait() == [DATA] * count
    assert faults == []


def test_a_file_is_handed_on_as_a_pipe_is(tmp_path, faults):
    path = tmp_path / "data"
    path.write_bytes(DATA)
    with path.open("rb") as file:
        tee = Tee(Recorded(file), 2, faults.append)
        tee.start()
        assert Readers(tee.outlets).wait() == [DATA] * 2


def test_a_reader_that_is_gone_is_left_out_and_the_others_get_all(faults):
    tee = Tee(feed(DATA), 3, faults.append)
    gone, *others = tee.outlets
    tee.start()
    assert read_all(gone, 10, 1000) == DATA[:1000]
    os.close(gone)
    assert Readers(others).wait() == [DATA] * 2


def test_who_stands_still_keeps_the_others_from_reading_on(faults):
    tee = Tee(feed(DATA), 2, faults.append)
    slow, quick = tee.outlets
    tee.start()
    got = read_all(quick, at_most=100)
    os.set_blocking(quick, False)
    for _ in range(10_000):
        with contextlib.suppress(BlockingIOError):
            got += os.read(quick, 65536)
        os.sched_yield()
    assert 100 <= len(got) <= 2 << 20
    os.set_blocking(quick, True)
    assert sorted(Readers([slow, quick]).wait(), key=len) == [DATA[len(got) :], DATA]


def test_when_stopped_all_readers_end_at_the_same_byte(faults):
    outlet, inlet = os.pipe()
    tee = Tee(recorded(outlet), 3, faults.append)
    tee.start()
    os.write(inlet, DATA[:1000])
    first, *others = tee.outlets
    assert read_all(first, at_most=1000) == DATA[:1000]
    tee.stop()
    assert os.read(first, 10) == b""
    assert Readers(others).wait() == [DATA[:1000]] * 2


def test_when_all_readers_are_gone_it_is_over(faults):
    tee = Tee(feed(DATA), 2, faults.append)
    tee.start()
    for each in tee.outlets:
        os.close(each)
    for each in threading.enumerate():
        if each.name == "tee":
            each.join(PATIENCE_S)
            assert not each.is_alive()


def test_what_cannot_be_read_is_told_before_the_readers_see_the_end(tmp_path, faults):
    number = os.open(tmp_path / "new", os.O_WRONLY | os.O_CREAT)
    tee = Tee(Recorded(os.fdopen(number, "wb", closefd=False)), 2, faults.append)
    tee.start()
    assert os.read(tee.outlets[0], 1) == b""
    assert faults == ["reading failed: Bad file descriptor"]


def test_what_was_looked_at_is_handed_on_first(faults):
    source = feed(DATA)
    seen = source.read(5000)
    tee = Tee(source, 2, faults.append)
    tee.start()
    assert seen == DATA[: len(seen)] != b""
    assert Readers(tee.outlets).wait() == [DATA] * 2
