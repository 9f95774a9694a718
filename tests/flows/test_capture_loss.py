"""What is acknowledged though it never passed by: exactly what was taken out of a connection, and nothing else."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sensor.capture import open_savefiles
from sensor.clock import PacketClock
from sensor.decode.decoder import Decoder
from sensor.flows import FlowOptions, FlowTable
from sensor.flows.capture_loss import GRACE, WINDOW, capture_loss
from sensor.flows.sequence_gaps import HOLES, MANY
from sensor.flows.sharding import keep_share
from sensor.packet import PACKET
from tests.capture.capture_files import Packet, pcap
from tests.flows.packets import A, B, every, run, talk, tcp

PCAPS = Path(__file__).parents[2] / "pcaps"
CAPTURES = sorted(PCAPS.glob("*.pcap"))
OPENING = talk(">S <SA >A")
LAWS = settings(deadline=None, derandomize=True, max_examples=300)


def counted(rows, now=None, options=FlowOptions()):  # noqa: B008
    """(ACKs, ACKs of unseen, bytes unseen, wild, forgotten) of packets, one every microsecond."""
    table = FlowTable(options)
    run(table, rows, every(1000, rows) if now is None else np.array(now, np.int64))
    names = ("tcp_acks", "tcp_acks_of_unseen", "tcp_bytes_unseen", "tcp_acks_wild", "tcp_holes_forgotten")
    return tuple(table.counters[name] for name in names)


def without(rows, *left_out):
    return np.delete(rows, left_out)


def data(seq, length, ack=5001):
    """Of the originator, whose first byte has number 1001."""
    return tcp("A", A, B, seq=seq, ack=ack, length=length)


def ack(number, seq=5001):
    """Of the responder."""
    return tcp("A", B, A, seq=seq, ack=number)


def after_opening(*rows):
    return np.concatenate([OPENING, *rows])


def test_a_whole_conversation_has_nothing_unseen():
    assert counted(talk(">S <SA >A >A+100 <A <A+50 >A >FA <FA >A")) == (4, 0, 0, 0, 0)


@pytest.mark.parametrize(
    ("left_out", "acks", "found"),
    [
        ([3], 4, (1, 100)),  # data, and then its ACK
        ([5], 4, (1, 50)),
        ([3, 5], 4, (2, 150)),
        ([4, 6], 4, (0, 0)),  # ACKs: what they said, later ones say too
        ([7], 4, (1, 1)),  # a FIN takes a number
        ([3, 4, 5], 3, (2, 150)),
    ],
)
def test_what_is_left_out_is_unseen(left_out, acks, found):
    rows = without(talk(">S <SA >A >A+100 <A <A+50 >A >FA <FA >A"), *left_out)
    assert counted(rows) == (acks, *found, 0, 0)


def test_a_gap_is_counted_once_however_often_it_is_acknowledged():
    rows = after_opening(ack(1101), ack(1101), data(1101, 10), ack(1111), ack(1111))
    assert counted(rows) == (2, 1, 100, 0, 0)


def test_a_hole_counts_when_an_ack_passes_it_and_as_far_as_it_does():
    lost_between = [data(1001, 10), data(1031, 10)]
    assert counted(after_opening(*lost_between)) == (0, 0, 0, 0, 0)
    assert counted(after_opening(*lost_between, ack(1011))) == (1, 0, 0, 0, 0)
    assert counted(after_opening(*lost_between, ack(1016))) == (1, 1, 5, 0, 0)
    assert counted(after_opening(*lost_between, ack(1041))) == (1, 1, 20, 0, 0)
    assert counted(after_opening(*lost_between, ack(1016), ack(1041))) == (2, 2, 20, 0, 0)


def test_several_holes_under_one_ack_are_one_ack():
    rows = after_opening(data(1001, 10), data(1021, 10), data(1041, 10), ack(1061))
    assert counted(rows) == (1, 1, 30, 0, 0)


def test_what_the_network_lost_and_sent_again_is_no_loss_of_capture():
    rows = after_opening(data(1001, 10), data(1021, 10), data(1041, 10), ack(1011), data(1031, 10), data(1011, 10))
    assert counted(np.concatenate([rows, ack(1051)])) == (2, 0, 0, 0, 0)


@pytest.mark.parametrize(("late", "found"), [(0, (0, 0)), (GRACE - 1, (0, 0)), (GRACE, (1, 10))])
def test_data_may_come_after_their_ack_but_not_much(late, found):
    rows = after_opening(ack(1011), data(1001, 10))
    assert counted(rows, [0, 0, 0, 0, late]) == (1, *found, 0, 0)


def test_data_that_come_late_in_part_leave_the_rest_unseen():
    rows = after_opening(ack(1101), data(1011, 10), data(1051, 20))
    assert counted(rows) == (1, 1, 70, 0, 0)


def test_it_is_counted_with_the_next_ack_after_the_grace():
    table = FlowTable()
    rows = after_opening(ack(1011), data(1011, 1), ack(1012))
    now = np.array([0, 0, 0, 0, 0, GRACE - 1], np.int64)
    run(table, rows, now, finish=False)
    assert table.counters["tcp_bytes_unseen"] == 0
    run(table, np.concatenate([data(1012, 1), ack(1013)]), np.array([GRACE, GRACE], np.int64), finish=False)
    assert (table.counters["tcp_bytes_unseen"], table.counters["tcp_acks_of_unseen"]) == (10, 1)
    run(table, rows[:0], now[:0])
    assert (table.counters["tcp_bytes_unseen"], table.counters["tcp_acks_of_unseen"]) == (10, 1)


@pytest.mark.parametrize(("beyond", "found"), [(WINDOW, (1, 1, WINDOW, 0)), (WINDOW + 1, (0, 0, 0, 1))])
def test_an_ack_beyond_any_window_says_nothing(beyond, found):
    assert counted(after_opening(ack(1001 + beyond))) == (*found, 0)


@pytest.mark.parametrize(("beyond", "found"), [(WINDOW, (2, 2, WINDOW, 0)), (WINDOW + 1, (1, 1, 100, 1))])
def test_acks_one_after_the_other_do_not_lead_away_from_the_data(beyond, found):
    assert counted(after_opening(ack(1101), ack(1001 + beyond))) == (*found, 0)


def test_after_more_was_lost_than_a_window_it_goes_on_with_the_data_that_come():
    far = 1001 + 3 * WINDOW
    rows = after_opening(ack(far), data(far, 10), ack(far + 10), data(far + 20, 10), ack(far + 30))
    assert counted(rows) == (1, 1, 10, 2, 0)


def test_forged_acks_do_not_drive_the_estimate():
    rng = np.random.default_rng(1)
    forged = [ack(int(number)) for number in rng.integers(0, 2**32, 300)]
    acks, of_unseen, unseen, wild, _ = counted(after_opening(*forged))
    assert wild > 290
    assert of_unseen <= acks <= 300 - wild
    assert unseen <= of_unseen * WINDOW


@pytest.mark.parametrize(
    "rows",
    [
        talk("<A+10 >A <A+10 >A >A+10 <A"),  # joined in the middle
        talk(">S >A >A+10 >A+10"),  # one direction
        talk("<SA <A+10 <A+10 <FA"),
        talk(">S <SA >A >RA <A"),  # after a RST
        talk(">A <A >FA <FA >A"),
        talk(">S <RA"),
    ],
)
def test_nothing_is_said_of_a_connection_that_was_not_opened_before_our_eyes_by_both(rows):
    later = [ack(1500), data(1400, 10), ack(1600), tcp("RA", B, A, seq=5001, ack=9999)]
    assert counted(np.concatenate([rows, *later])) == (0, 0, 0, 0, 0)


def test_resets_and_syns_acknowledge_nothing():
    rows = after_opening(tcp("SA", B, A, seq=5000, ack=2000), tcp("RA", B, A, seq=5001, ack=2000))
    assert counted(rows) == (0, 0, 0, 0, 0)


def test_keep_alives_and_what_repeats_an_ack_are_not_judged():
    probe = tcp("A", A, B, seq=1010, ack=5001, length=1)
    rows = after_opening(data(1001, 10), ack(1011), probe, ack(1011), probe, ack(1011), ack(1005))
    assert counted(rows) == (1, 0, 0, 0, 0)


def test_what_was_unseen_and_comes_is_still_counted_as_the_flow_s_bytes():
    removed = run(FlowTable(), after_opening(ack(1011), data(1001, 10)), every(1000, OPENING)[[0, 1, 2, 2, 2]])[-1]
    assert (removed["orig_bytes"], removed["history"]) == (10, b"ShAaD")


@pytest.mark.parametrize(("holes", "forgotten"), [(MANY, 0), (MANY + 1, 1)])
def test_of_more_holes_than_are_remembered_the_oldest_is_forgotten(holes, forgotten):
    rows = after_opening(*(data(1011 + 20 * i, 10) for i in range(holes)), ack(1011 + 20 * holes))
    acks, of_unseen, unseen, _, lost = counted(rows)
    assert (acks, of_unseen, lost) == (1, 1, forgotten)
    assert unseen == 10 * (holes - forgotten) + 10  # the last is what comes before the ACK


def many(script, count):
    """A scripted connection for each of so many ports of the originator, one after the other."""
    rows = np.tile(script, count)
    ports = np.repeat(np.arange(1024, 1024 + count), len(script))
    for end in ("src_port", "dst_port"):
        rows[end] = np.where(rows[end] == A[1], ports, rows[end])
    return rows


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize("is_acked", [False, True])
def test_of_more_holes_in_all_the_oldest_is_counted_if_it_was_acknowledged_and_else_forgotten(over, is_acked):
    script = after_opening(data(1011, 10), *([ack(1021)] if is_acked else []))
    table, rows = FlowTable(), many(script, HOLES + over)
    run(table, rows, every(1, rows), finish=False)
    counters = table.counters
    assert (counters["tcp_acks"], counters["tcp_bytes_unseen"]) == (len(rows) // 5, 10 * over) if is_acked else (0, 0)
    assert counters["tcp_holes_forgotten"] == (0 if is_acked else over)
    run(table, rows[:0], every(1, rows[:0]))
    assert table.counters["tcp_acks_of_unseen"] == (HOLES + over if is_acked else 0)


segments = st.tuples(
    st.sampled_from([0, 1]),  # of which side
    st.integers(0, 3),  # bytes, 0 for a pure ACK
    st.integers(0, 9),  # bytes that the ACK stays behind by
    st.booleans(),  # whether the capture misses it
    st.one_of(st.none(), st.integers(0, 30)),  # or it is an earlier one, sent again
)


@LAWS
@given(st.lists(segments, max_size=60), st.sampled_from([1000, 2**32 - 20, 2**31 - 20]), st.booleans())
def test_exactly_what_was_missed_and_acknowledged_is_unseen(sent, start, closes):
    starts, sides = (start, start + 77), ((A, B), (B, A))
    length, acked, history = [0, 0], [0, 0], []
    rows = [tcp("S", A, B, seq=start - 1), tcp("SA", B, A, seq=(start + 76) % 2**32, ack=start)]
    passed, said = [set(), set()], [0, 0]
    sent = [*sent, (0, 1, 0, False, None)] if closes else sent
    for side, size, behind, missed, again in sent:
        begin = length[side]
        if again is not None and history:
            side, begin, size = history[again % len(history)]
        else:
            length[side] += size
            history.append((side, begin, size))
        acked[1 - side] = max(acked[1 - side], length[1 - side] - behind)
        if missed:
            continue
        passed[side] |= set(range(begin, begin + size))
        said[1 - side] = max(said[1 - side], acked[1 - side])
        number, other = (starts[side] + begin) % 2**32, (starts[1 - side] + acked[1 - side]) % 2**32
        rows.append(tcp("A", *sides[side], seq=number, ack=other, length=size))
    unseen = sum(len(set(range(said[side])) - passed[side]) for side in (0, 1))
    acks, of_unseen, found, wild, forgotten = counted(np.concatenate(rows))
    assert (found, wild, forgotten) == (unseen, 0, 0)
    assert (of_unseen > 0) == (unseen > 0)
    assert of_unseen <= acks


def decoded(paths, missed=()):
    """The packets of a capture, and the packet clock at each, without those of some numbers."""
    decoder, clock = Decoder(), PacketClock()
    with open_savefiles([str(path) for path in paths]) as source:
        packets = np.concatenate([np.zeros(0, PACKET), *(decoder.decode(block) for block in source.blocks())])
    packets = np.delete(packets, missed)
    return packets, clock.advance(packets["ts"], final=True)[0]


@pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)
def test_a_capture_from_which_nothing_is_missing_shows_no_loss(capture):
    acks, of_unseen, unseen, wild, forgotten = counted(*decoded([capture]))
    assert (of_unseen, unseen, wild, forgotten) == (0, 0, 0, 0)
    assert acks > 0 or capture.stem not in ("busy-browser", "ssh-session", "passive-ftp", "monitoring-poll")


def test_the_workers_of_shares_count_what_one_counts():
    missed = np.random.default_rng(3).choice(3000, 300, replace=False)
    paths = [PCAPS / "busy-browser.pcap", PCAPS / "passive-ftp.pcap", PCAPS / "monitoring-poll.pcap"]
    packets, now = decoded(paths, missed[missed < len(decoded(paths)[0])])
    alone = counted(packets, now)
    assert alone[1] > 10
    shares = []
    for own in range(3):
        mine = packets.copy()
        keep_share(mine, own, 3)
        shares.append(counted(mine, now))
    assert tuple(map(sum, zip(*shares, strict=True))) == alone


def test_the_share_of_lost_acks_is_told():
    assert capture_loss({"tcp_acks": 0, "tcp_acks_of_unseen": 0}) is None
    assert capture_loss({"tcp_acks": 8, "tcp_acks_of_unseen": 2}) == 0.25


def fields_of(path, *fields):
    """What tshark says of each frame."""
    command = ["tshark", "-n", "-r", str(path), "-T", "fields", "-E", "separator=|"]
    command += [word for field in fields for word in ("-e", field)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    return [line.split("|") for line in done.stdout.splitlines()]


def copied(path):
    with open_savefiles([str(path)]) as source:
        return [
            Packet(int(row["ts"]), bytes(block.buffers[0][row["offset"] :][: row["caplen"]]), int(row["wirelen"]))
            for block in source.blocks()
            for row in block.frames
        ]


@pytest.mark.skipif(shutil.which("tshark") is None, reason="tshark is not installed")
@pytest.mark.parametrize("name", ["busy-browser", "monitoring-poll", "passive-ftp"])
def test_tshark_misses_segments_in_the_same_connections(name, tmp_path):
    """One segment a connection: after the first that it misses, tshark takes ACKs for lost that are not."""
    said = fields_of(PCAPS / f"{name}.pcap", "tcp.stream", "tcp.len")
    missed = {}
    for number in np.random.default_rng(5).permutation(len(said)).tolist():
        stream, length = said[number]
        if length not in ("", "0"):
            missed.setdefault(stream, number)
    path = tmp_path / "missed.pcap"
    packets = copied(PCAPS / f"{name}.pcap")
    path.write_bytes(pcap(each for number, each in enumerate(packets) if number not in missed.values()))
    found = fields_of(path, "tcp.stream", "tcp.analysis.ack_lost_segment", "tcp.analysis.lost_segment")
    lossy = {stream for stream, lost_ack, jump in found if lost_ack or jump}
    _, of_unseen, unseen, wild, forgotten = counted(*decoded([path]))
    assert of_unseen == len(lossy) == len(missed) > 10
    assert unseen == sum(int(said[number][1]) for number in missed.values())
    assert (wild, forgotten) == (0, 0)
