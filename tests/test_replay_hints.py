"""A replay says what looks wrong about its files, whoever reads them and however: both on the line and not under it."""

import subprocess
import sys

import pytest
from scapy.layers.inet import IP, TCP
from scapy.packet import Raw

from sensor.node.hints import Acks, DirectionCounts, hints_of_replay
from tests.replaying import ETHER, PCAPS, ROOT, replay, write

QUIET = sorted(path for path in PCAPS.glob("*.pcap") if "scan" not in path.stem)


SENT = [
    (">", "S", 1000, 0, 0),
    ("<", "SA", 5000, 1001, 0),
    (">", "A", 1001, 5001, 0),
    (">", "PA", 1001, 5001, 80),
    ("<", "A", 5001, 1081, 500),
    (">", "A", 1081, 5501, 0),
    ("<", "PA", 5501, 1081, 300),
    (">", "A", 1081, 5801, 0),
    (">", "FA", 1081, 5801, 0),
    ("<", "FA", 5801, 1082, 0),
    (">", "A", 1082, 5802, 0),
]


def conversation(number, *, directions="><", lost=()):
    """A connection with two pieces of an answer, of which the capture has some directions, and lost some packets."""
    here, there, port = "192.0.2.1", f"198.51.100.{number % 200 + 1}", 20000 + number
    packets = []
    for at, (side, flags, seq, ack, length) in enumerate(SENT):
        src, dst, sport, dport = (here, there, port, 443) if side == ">" else (there, here, 443, port)
        segment = TCP(sport=sport, dport=dport, flags=flags, seq=seq, ack=ack) / Raw(bytes(length))
        if side in directions and at not in lost:
            packets.append((number + 0.01 * at, ETHER / IP(src=src, dst=dst) / segment))
    return packets


def a_file(path, conversations):
    return write(path, [packet for each in conversations for packet in each])


def hints(*arguments):
    return [text.partition(":")[0] for text in replay(*arguments).summary["hints"]]


@pytest.mark.parametrize(
    ("ways", "found"),
    [
        (DirectionCounts(19, 0), []),
        (DirectionCounts(20, 0), ["one way"]),
        (DirectionCounts(39, 0), ["one way"]),
        (DirectionCounts(20, 10), ["one way"]),
        (DirectionCounts(20, 11), []),
        (DirectionCounts(1000, 990), []),
    ],
)
def test_one_direction_is_missing_where_half_of_enough_connections_lack_it(ways, found):
    assert [hint.name for hint in hints_of_replay(ways, Acks(0, 0))] == found


@pytest.mark.parametrize(
    ("acks", "found"), [(Acks(99, 99), []), (Acks(100, 9), []), (Acks(100, 10), ["capture loss"]), (Acks(0, 0), [])]
)
def test_a_capture_is_lossy_where_a_tenth_of_enough_acknowledgements_says_so(acks, found):
    assert [hint.name for hint in hints_of_replay(DirectionCounts(0, 0), acks)] == found


@pytest.mark.parametrize("directions", [">", "<"])
def test_a_file_of_one_direction_says_so_in_the_summary_and_to_people(tmp_path, directions):
    path = a_file(tmp_path / "one.pcap", [conversation(n, directions=directions) for n in range(39)])
    ran = replay(path)
    [hint] = ran.summary["hints"]
    assert "of 39 connections with data 39 were heard from one end" in hint
    assert ran.stderr == f"sensor: {hint}\n" and ran.exit_code == 0


def test_a_file_of_which_the_second_half_has_one_direction_says_so(tmp_path):
    halves = [conversation(n, directions="><" if n < 100 else ">") for n in range(200)]
    assert hints(a_file(tmp_path / "halves.pcap", halves)) == ["one direction only"]


def test_a_few_odd_connections_are_no_hint(tmp_path):
    odd = [conversation(n, directions=">") for n in range(19)]
    assert hints(a_file(tmp_path / "few.pcap", odd)) == []
    assert hints(a_file(tmp_path / "most.pcap", odd + [conversation(n) for n in range(100, 130)])) == []


def test_a_capture_that_lost_data_says_so(tmp_path):
    path = a_file(tmp_path / "lossy.pcap", [conversation(n, lost=[4] * (n % 2)) for n in range(40)])
    ran = replay(path)
    [hint] = ran.summary["hints"]
    assert "capture loss: 20 of 200 TCP acknowledgements are of bytes that never passed by" in hint
    assert ran.stderr == f"sensor: {hint}\n"


@pytest.mark.parametrize("path", QUIET, ids=lambda path: path.stem)
def test_an_ordinary_capture_has_no_hint(path):
    assert hints(path) == []


def test_the_hints_are_the_same_for_any_number_of_workers_and_from_standard_input(tmp_path):
    one_way = [conversation(n, directions=">") for n in range(60)]
    path = a_file(tmp_path / "both.pcap", one_way + [conversation(n, lost=[4]) for n in range(100, 140)])
    alone = replay(path)
    assert [text.partition(":")[0] for text in alone.summary["hints"]] == ["one direction only", "capture loss"]
    shared = replay("--workers", 3, path)
    assert (shared.summary["hints"], shared.stderr) == (alone.summary["hints"], alone.stderr)
    command = [sys.executable, "-m", "sensor", "replay", "-"]
    with path.open("rb") as stdin:
        piped = subprocess.run(command, stdin=stdin, capture_output=True, text=True, timeout=120, cwd=ROOT)
    assert piped.stderr == alone.stderr
