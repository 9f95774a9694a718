"""`epoch_finished` is told of every epoch from the first packet to the last, through the command line."""

import textwrap

import pytest
from scapy.layers.inet import IP, TCP

from tests.replaying import ETHER, replay, write

MINUTE = 60
START = 1_700_000_000 // MINUTE

FINISHED = """
    from sensor.detection import Detection, Stream, Sum, SumStat

    class Finished(Detection):
        "Writes which epochs are over. Misses nothing."
        refused = Stream("connection_rejected", key="orig_h")
        each = SumStat(epoch="60s", {hops}total=Sum(refused))

        @each.epoch_result
        def result(self, key, seen, epoch):
            with open({path!r} + "-results", "a") as file:
                print(epoch.index, int(seen.total.sum), epoch.start, epoch.end, epoch.complete, file=file)

        @each.epoch_finished
        def over(self, epoch):
            with open({path!r}, "a") as file:
                print(epoch.index, epoch.start, epoch.end, epoch.count, epoch.complete, file=file)
"""


def refused(seconds):
    """A connection that is refused at once."""
    syn = ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP(sport=40000 + int(seconds) % 20000, dport=81, flags="S")
    there, back = syn[IP], syn[TCP]
    rst = ETHER / IP(src=there.dst, dst=there.src) / TCP(sport=81, dport=back.sport, flags="RA", ack=1)
    return [(seconds, syn), (seconds + 0.001, rst)]


def finished(tmp_path, times, *, workers, hops="hops=0, "):
    """Epochs as they were told of: number, start, end, how many; refusals are at these seconds."""
    path, plugin = tmp_path / f"finished-{workers}", tmp_path / "finished.py"
    plugin.write_text(textwrap.dedent(FINISHED).format(path=str(path), hops=hops))
    capture = write(tmp_path / "refused.pcap", [each for seconds in times for each in refused(seconds)])
    ran = replay("--plugin", plugin, "--detection", "finished", "--workers", workers, capture)
    assert ran.exit_code == 0
    rows = [line.split() for line in path.read_text().splitlines()]
    assert {row[4] for row in rows} == {"True"}
    return [tuple(map(int, row[:4])) for row in rows]


def minute(index, count=1):
    return index, index * MINUTE * 10**9, (index + count) * MINUTE * 10**9, count


@pytest.mark.parametrize("workers", [1, 2])
def test_an_epoch_without_packets_is_finished_as_others_are(tmp_path, workers):
    told = finished(tmp_path, [0, 61, 200], workers=workers)
    assert told[:-1] == [minute(START + at) for at in range(3)]
    assert told[-1][0] == START + 3


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize(("empty", "more"), [(1439, 0), (1440, 0), (1441, 1), (30 * 1440, 30 * 1440 - 1440)])
def test_a_day_of_minutes_is_told_one_by_one_and_the_rest_at_once(tmp_path, empty, more, workers):
    told = finished(tmp_path, [0, (empty + 1) * MINUTE], workers=workers)
    singly = [minute(START + at) for at in range(1 + min(empty, 1440))]
    assert told[:-1] == singly + [minute(START + 1441, more)] * bool(more)
    assert told[-1][0] == START + empty + 1


def test_windows_that_hop_are_each_finished(tmp_path):
    told = finished(tmp_path, [0, 200], workers=1, hops="hops=2, ")
    numbers = [each[0] for each in told]
    assert numbers == list(range(numbers[0], numbers[0] + 8 - (numbers[0] * 30 > 1_700_000_000 - 10)))
    assert {end - start for _, start, end, _ in told[:-1]} == {90 * 10**9}


@pytest.mark.parametrize("workers", [1, 2])
def test_windows_that_end_without_packets_have_the_results_of_those_before(tmp_path, workers):
    """A window holds three panes of 30 s: what is in one is in the results of the two windows after, too."""
    seconds = [0, 31, 200]
    told = finished(tmp_path, seconds, workers=workers, hops="hops=2, ")
    rows = [line.split() for line in (tmp_path / f"finished-{workers}-results").read_text().splitlines()]
    panes = [(1_700_000_000 + each) // 30 for each in seconds]
    within = {at: sum(at - 2 <= pane <= at for pane in panes) for at in range(panes[0], panes[-1] + 1)}
    assert [(int(row[0]), int(row[1])) for row in rows] == [(at, count) for at, count in within.items() if count]
    assert {row[4] for row in rows} == {"True"}
    assert {(int(row[0]), int(row[2]), int(row[3])) for row in rows} <= {each[:3] for each in told}
