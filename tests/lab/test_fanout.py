"""Several rings share an interface's frames: each gets every frame of its flows, both directions, and no other does."""

import contextlib
import struct

import pytest

from sensor.capture import CaptureError
from sensor.capture.live import af_packet
from sensor.capture.live.af_packet import Geometry
from sensor.capture.live.fanout import Fanout, join
from tests.lab.wire import ROOMY, Sender, balanced, blocks_of, copied, fanout_of, number, of_blocks, udp, wait_for, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture


@contextlib.contextmanager
def group(wire, count, ring=ROOMY, **options):
    """Sources of one group."""
    fanout = Fanout(**options)
    with contextlib.ExitStack() as stack:
        lives = []
        for _ in range(count):
            live = wire.live(fanout=fanout, ring=ring, wait_s=0.01)
            lives.append(stack.enter_context(live))
            fanout = fanout_of(lives[0])
        yield lives


def shared(lives, count):
    """What each source gets, until they have got so many frames together, lost ones included."""
    found, series = [[] for _ in lives], [blocks_of(live) for live in lives]
    for _ in range(1000):
        for each, blocks in zip(found, series, strict=True):
            each += [data for data, *_ in copied(next(blocks))]
        if sum(live.counters["kernel_packets"] for live in lives) >= count:
            break
    for live, each, blocks in zip(lives, found, series, strict=True):
        live.stop()
        each += [data for data, *_ in of_blocks(blocks)]
        assert balanced(live.counters)
    return found


@pytest.mark.parametrize("count", [2, 4])
def test_by_hash_each_frame_is_in_one_ring_and_a_flow_in_one_in_both_directions(wire, count):
    sent = [udp(i, source=i % 97, swap=i % 3 == 0) for i in range(3000)]
    with group(wire, count, by="hash") as lives:
        wire.send(sent)
        found = shared(lives, 3000)
    assert sorted(number(data) for each in found for data in each) == list(range(3000))
    owners = [{number(data) % 97 for data in each} for each in found]
    assert sum(map(len, owners)) == 97
    assert all(97 / count / 3 < len(flows) < 97 / count * 3 for flows in owners)


@pytest.mark.parametrize("key", [None, 0x9E3779B1])
def test_a_group_by_hosts_has_a_key_that_is_given_or_drawn(key):
    drawn = Fanout(key=key).key
    assert drawn & 1 and 0 < drawn < 1 << 32 and drawn == (key or drawn)
    assert key or len({Fanout().key for _ in range(9)}) == 9
    assert Fanout(by="hash", group=7).key is None


@pytest.mark.parametrize("key", [-1, 0, 2, (1 << 32) + 1])
def test_a_key_that_is_no_odd_number_of_32_bits_is_refused(key):
    assert Fanout(key=1).key == 1 and Fanout(key=(1 << 32) - 1).key == (1 << 32) - 1
    with pytest.raises(ValueError, match=f"the key {key} .* odd number of 32 bits"):
        Fanout(key=key)


def test_who_joins_a_group_by_hosts_has_to_say_its_key():
    assert Fanout(group=7, key=9).key == 9
    with pytest.raises(ValueError, match="to join fanout group 7 by hosts, give the key"):
        Fanout(group=7)


def test_by_cpu_each_frame_is_in_one_ring(wire):
    with group(wire, 2, by="cpu") as lives:
        wire.send([udp(i, source=i) for i in range(500)])
        found = shared(lives, 500)
    assert sorted(number(data) for each in found for data in each) == list(range(500))


def test_two_groups_of_an_interface_get_all_frames_each(wire):
    with group(wire, 2) as first, group(wire, 2) as second:
        groups = [fanout_of(live).group for live in (*first, *second)]
        assert groups[0] == groups[1] != groups[2] == groups[3]
        wire.send([udp(i, source=i) for i in range(200)])
        for lives in (first, second):
            assert sorted(number(data) for each in shared(lives, 200) for data in each) == list(range(200))


def fragments(number_, *, source, pieces=3):
    """A UDP datagram in IPv4 fragments of 64 bytes."""
    whole = udp(number_, source=source, size=42 + 64 * pieces - 8)
    payload, parts = whole[34:], []
    for i in range(pieces):
        more = 0x2000 if i + 1 < pieces else 0
        piece = payload[64 * i : 64 * i + 64]
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(piece), number_, more | 8 * i, 64, 17, 0) + whole[26:34]
        total = sum(struct.unpack("!10H", head))
        total = (total & 0xFFFF) + (total >> 16)
        checksum = struct.pack("!H", ~(total + (total >> 16)) & 0xFFFF)
        parts.append(whole[:14] + head[:10] + checksum + head[12:] + piece)
    return parts


def test_by_hash_fragments_are_put_together_before_they_are_shared(wire):
    sent = [part for i in range(50) for part in fragments(i, source=i)]
    with group(wire, 2, by="hash") as lives:
        wire.send(sent)
        found = [data for each in shared(lives, 50) for data in each]
    assert sorted(number(data) for data in found) == list(range(50))
    assert all(data[34:] == udp(number(data), source=number(data), size=42 + 184)[34:] for data in found)
    with group(wire, 2, by="hash", defragment=False) as lives:
        wire.send(sent)
        assert sorted(data for each in shared(lives, 150) for data in each) == sorted(sent)


@pytest.mark.parametrize("by", ["hosts", "hash"])
def test_what_finds_no_room_goes_to_the_other_ring(wire, by):
    tiny, sent = Geometry(1 << 13, 8), [udp(i, size=1400) for i in range(60)]
    for rollover in (True, False):
        with group(wire, 2, ring=tiny, by=by, rollover=rollover) as lives:
            wire.send(sent)
            found = shared(lives, 60)
            drops = sum(live.counters["ring_drops"] for live in lives)
        assert sum(map(len, found)) + drops == 60
        assert all(found) == rollover


def test_one_that_leaves_gives_its_share_to_those_who_stay(wire):
    with group(wire, 2) as (stays, leaves):
        for block in blocks_of(leaves):
            kept = block
            leaves.stop()
        leaves.close()
        assert len(kept.buffers)  # still held, and yet it has left
        sender = Sender(wire.sender(), lambda i: udp(i, host=i % 50))
        sender.start()
        wait_for(lambda: sender.sent >= 500)
        sent = sender.finish()
        assert sorted(number(data) for data in shared([stays], sent)[0]) == list(range(sent))


def test_one_that_joins_has_no_frame_that_another_has(wire, monkeypatch):
    sent = [udp(i, source=i) for i in range(50)]

    def join_late(*arguments):
        if lives:  # the second one is bound, and not yet in the group
            wire.send(sent)
            wait_for(lambda: lives[0].taps[0].ring.waiting >= 50)
        return join(*arguments)

    monkeypatch.setattr(af_packet, "join", join_late)
    with contextlib.ExitStack() as stack:
        lives = []
        lives.append(stack.enter_context(wire.live(fanout=Fanout())))
        lives.append(stack.enter_context(wire.live(fanout=fanout_of(lives[0]))))
        assert shared(lives, 50) == [sent, []]


def test_a_group_of_another_kind_refuses(wire):
    with group(wire, 1) as (live,), pytest.raises(CaptureError, match=r"near: cannot join a fanout group: .*mode"):
        wire.live(fanout=Fanout(by="cpu", group=fanout_of(live).group))
