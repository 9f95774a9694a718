"""Standard output that takes nothing for a while: what is told waits in order, up to a cap, and is counted beyond."""

import os

import pytest

from sensor.outputs.outlet import RETRY_S, Outlet


class Stand:
    """An outlet to a pipe that holds a page, what it said, and a clock that stands still."""

    def __init__(self, **options):
        self.reader, writer = os.pipe()
        os.set_blocking(writer, False)
        self.said, self.now, self.filler = [], 100.0, 0
        self._file = os.fdopen(writer, "w")
        self.outlet = Outlet(self._file, self.said.append, clock=lambda: self.now, **options)

    def fill(self):
        """Leave no room."""
        while True:
            try:
                self.filler += os.write(self._file.fileno(), bytes(4096))
            except BlockingIOError:
                return

    def drain(self):
        """What came, without the filler; there is room again."""
        os.set_blocking(self.reader, False)
        data = b""
        while True:
            try:
                data += os.read(self.reader, 1 << 20)
            except BlockingIOError:
                break
        kept, self.filler = data[self.filler :], 0
        return kept.decode()

    def close(self):
        os.close(self.reader)
        self._file.close()


@pytest.fixture
def stand():
    made = []

    def make(**options):
        made.append(Stand(**options))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_what_finds_no_room_waits_and_goes_out_in_order_when_there_is_some(stand):
    full = stand()
    full.fill()
    for line in ("one\n", "two\n", "three\n"):
        full.outlet.write(line)
    assert (full.outlet.waiting, full.said) == (3, ["Resource temporarily unavailable"])
    assert full.drain() == ""
    full.now += RETRY_S * 0.99
    full.outlet.flush()
    assert full.drain() == ""
    full.now += RETRY_S * 0.02
    full.outlet.flush()
    assert full.drain() == "one\ntwo\nthree\n"
    assert (full.outlet.waiting, full.outlet.lost, full.said[1:]) == (0, 0, [""])


def test_a_line_of_which_a_part_was_taken_is_finished_before_the_next(stand):
    full = stand()
    long = "x" * 200_000 + "\n"
    full.outlet.write(long)
    full.outlet.write("next\n")
    assert full.outlet.waiting == 2
    got = full.drain()
    while full.outlet.waiting:
        full.outlet.hurry()
        got += full.drain()
    assert got == long + "next\n"


def test_up_to_the_cap_lines_wait_and_newer_ones_are_lost_and_counted(stand):
    full = stand(memory_bytes=12)
    full.fill()
    for line in ("12345\n", "12345\n", "7\n", "8\n9\n"):
        full.outlet.write(line)
    assert (full.outlet.waiting, full.outlet.lost) == (2, 3)
    full.drain()
    full.outlet.hurry()
    full.outlet.write("after\n")
    assert full.drain() == "12345\n12345\nafter\n"


def test_what_is_in_the_way_is_said_once_and_a_reader_that_has_gone_is_told_apart(stand):
    gone = stand()
    os.close(gone.reader)
    for _ in range(3):
        gone.outlet.write("line\n")
        gone.now += RETRY_S
    assert gone.said == ["Broken pipe"] and gone.outlet.is_reader_gone
    gone.reader = os.open(os.devnull, os.O_RDONLY)


def test_characters_that_the_encoding_lacks_are_escaped(tmp_path):
    with (tmp_path / "out").open("w", encoding="ascii") as file:
        Outlet(file, print).write("caf\xe9\n")
    assert (tmp_path / "out").read_bytes() == b"caf\\xe9\n"
