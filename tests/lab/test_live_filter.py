"""A filter means the same live as in a file, whatever the kernel does with VLAN tags, and from the first frame on."""

import pytest

from sensor.capture import open_savefiles
from sensor.capture.bpf.filter import Filter
from tests.capture.capture_files import Packet, pcap
from tests.lab.wire import PCAPS, Sender, balanced, blocks_of, copied, number, of_blocks, tagged, take, udp, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture

FILTERS = [
    "ip", "not ip", "udp", "tcp or icmp", "vlan", "not vlan", "vlan 5", "vlan 5 and udp", "vlan and vlan",
    "ether[12:2] = 0x8100", "ether[12:2] = 0x0800 or vlan 6", "greater 64", "less 63", "len = 64",
    "not udp and len > 64", "port 53", "portrange 1024-1060",
    "vlan 5 and dst port 53 and src net 192.0.2.0/24", "ether[60] = 0", "arp",
]  # fmt: skip


def traffic():
    """Some of everything, a third of it with a tag and some with two."""
    with open_savefiles([str(PCAPS / "busy-browser.pcap")]) as source:
        frames = [data for data, *_ in of_blocks(source.blocks())][:300]
    frames += [udp(i, source=i, size=60 + i % 6) for i in range(300)]
    tags = [(), (5,), (), (6,), (), (5, 6), (6, 5)]
    for i, frame in enumerate(frames):
        for vlan in tags[i % 7]:
            frame = tagged(frame, vlan, tpid=0x88A8 if i % 5 == 0 else 0x8100)
        yield frame


@pytest.mark.parametrize("text", FILTERS)
def test_a_filter_takes_the_same_live_as_from_a_file(wire, tmp_path, text):
    sent, path = list(traffic()), tmp_path / "sent.pcap"
    path.write_bytes(pcap(Packet(10**18, data, len(data)) for data in sent))
    chosen = Filter(text)
    with open_savefiles([str(path)]) as source:
        expected = [data for data, *_ in of_blocks(map(chosen.select, source.blocks()))]
    with wire.live(program=chosen.program(1)) as live:
        wire.send(sent)
        wire.send([udp(0, size=2 + 1512)])  # no filter above is about it alone, and some do take it
        found = [data for data, *_ in take(live, len(expected))]
        counters = live.counters
    assert [data for data in found if len(data) != 1514] == expected
    assert balanced(counters) and counters["packets_read"] == len(found)
    assert counters["packets_filtered"] == counters["packets_delivered"] - len(found)


def test_the_kernel_drops_what_it_can_judge(wire):
    with wire.live(program=Filter("tcp").program(1)) as live:
        wire.send([udp(i) for i in range(100)])
        wire.send([tagged(udp(1), 5)])
        for block in blocks_of(live):
            assert not len(block.frames)
            if live.counters["packets_delivered"]:
                live.stop()
        assert (live.counters["kernel_packets"], live.counters["packets_filtered"]) == (1, 1)


@pytest.mark.parametrize("snaplen", [50, 62, 66])
def test_a_filter_goes_with_a_snaplen(wire, snaplen):
    sent = [udp(1, size=70), tagged(udp(2, size=70), 5), tagged(udp(3), 7)]
    with wire.live(snaplen=snaplen, program=Filter("ip or vlan 5").program(1)) as live:
        wire.send(sent)
        found = take(live, 2)
    assert [data for data, *_ in found] == [frame[:snaplen] for frame in sent[:2]]


def test_no_frame_slips_past_a_filter_as_the_source_opens(wire):
    sender = Sender(wire.sender(), lambda i: udp(i, source=i % 2))
    sender.start()
    try:
        for _ in range(10):
            with wire.live(program=Filter("src port 1025").program(1)) as live:
                found = 0
                for block in blocks_of(live):
                    numbers = [number(data) for data, *_ in copied(block)]
                    assert all(each % 2 for each in numbers)
                    found += len(numbers)
                    if found > 20:
                        live.stop()
    finally:
        sender.finish()
