"""Filters mean what they mean to tcpdump, and programs do what Linux does with them, to the bit."""

import itertools
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from sensor.capture import CaptureError, open_savefiles
from sensor.capture.bpf import program as bpf
from sensor.capture.bpf.filter import Filter
from sensor.capture.bpf.libpcap import compile_filter
from sensor.capture.bpf.program import INSTRUCTION, attach, check
from sensor.capture.bpf.run import run
from tests.capture.capture_files import Packet, enhanced, interface, packets, pcap, pcap_header, pcap_record, section

PCAPS = Path(__file__).parents[2] / "pcaps"
NAMES = ["port-scan-fragmented", "busy-browser", "address-scan-ipv6", "traceroute", "passive-ftp", "address-scan-udp"]
NAMES += ["ssh-session", "port-scan-connect"]
FILTERS = """
tcp
udp
icmp
icmp6
ip6
ip
arp
not ip
tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn
tcp[tcpflags] == tcp-rst
tcp port 80 or tcp port 443
udp and portrange 1-1024
portrange 40000-65535
src net 192.0.2.0/24
net 198.51.100.0/24 or net 192.0.2.0/28
dst net 2001:db8::/32
ip6 and not icmp6
host 192.0.2.20 and not tcp
src host 192.0.2.10 or ip6
icmp[icmptype] == icmp-echo or icmp[icmptype] == icmp-timxceed
ip[6:2] & 0x1fff != 0
(tcp[((tcp[12] & 0xf0) >> 2):4] & 0xdfdf0000) != 0
greater 200
less 60
len > 100 and len < 1000
len - 500 > ip[2:2]
len % 7 == 3 or len / 64 == 1 or len * 3 > 3000
vlan
vlan 5
vlan and tcp
not vlan
ip or (vlan and ip6)
vlan 5 and (udp or icmp) and not net 192.0.2.0/28
ether broadcast or ether multicast
ether[0] & 1 = 0 and ip[8] < 5
ether[12:2] == 0x8100
ip proto 17 and ip[9] = 17
tcp[2:2] > 1000 and tcp[2:2] <= 60000
""".strip().splitlines()


def plain(path):
    return path.read_bytes()


def vlan(path):
    """Every other packet with one tag, every tenth with two."""
    made = []
    for i, (ts, data, wirelen) in enumerate(taken(path)):
        hidden = wirelen - len(data)
        for number in [5, 6][: 2 if i % 10 == 0 else i % 2]:
            data = data[:12] + b"\x81\x00" + number.to_bytes(2) + data[12:]
        made.append(Packet(ts, data, len(data) + hidden))
    return pcap(made)


def raw(path):
    made = [Packet(ts, data[14:], wirelen - 14) for ts, data, wirelen in taken(path)]
    return pcap_header(linktype=101) + b"".join(map(pcap_record, made))


def cut(path):
    return pcap([Packet(ts, data[:37], wirelen) for ts, data, wirelen in taken(path)])


def taken(path, chosen=None):
    with open_savefiles([str(path)]) as source:
        return [
            (int(row["ts"]), *(block.buffers[0][row["offset"] :][: row["caplen"]].tobytes(), int(row["wirelen"])))
            for block in source.blocks()
            for row in (chosen.select(block) if chosen else block).frames
        ]


@pytest.mark.parametrize("form", [plain, vlan, raw, cut])
@pytest.mark.parametrize("name", NAMES)
def test_a_filter_takes_what_tcpdump_takes(tmp_path, name, form):
    if shutil.which("tcpdump") is None:
        pytest.skip("tcpdump is not installed")
    path, out = tmp_path / "in.pcap", tmp_path / "out.pcap"
    path.write_bytes(form(PCAPS / f"{name}.pcap"))
    total, linktype = len(taken(path)), 101 if form is raw else 1
    for text in FILTERS:
        try:
            compile_filter(text, linktype)
        except CaptureError:
            assert form is raw  # which has neither Ethernet nor tags
            continue
        command = ["tcpdump", "-r", str(path), "-w", str(out), "--", text]
        subprocess.run(command, check=True, capture_output=True)
        chosen = Filter(text)
        assert taken(path, chosen) == taken(out), text
        assert chosen.rejected == total - len(taken(out)) and chosen.inapplicable == 0


def test_the_filters_above_tell_packets_apart(tmp_path):
    counts = dict.fromkeys(FILTERS, 0)
    total = 0
    for name, form in itertools.product(NAMES, (plain, vlan)):
        path = tmp_path / name
        path.write_bytes(form(PCAPS / f"{name}.pcap"))
        total += len(taken(path))
        for text in FILTERS:
            counts[text] += len(taken(path, Filter(text)))
    assert {text for text, count in counts.items() if not 0 < count < total} <= {"arp"}


def test_several_files_and_link_types_are_filtered_each_by_its_own(tmp_path):
    ethernet = taken(PCAPS / "busy-browser.pcap")
    made = [Packet(ts, data, wirelen) for ts, data, wirelen in ethernet]
    ip = [Packet(each.ts + 1, each.data[14:], each.wirelen - 14) for each in made]
    unknown = [Packet(each.ts + 2, each.data, each.wirelen) for each in made[:10]]
    both = section() + interface() + interface(linktype=101) + interface(linktype=9999)
    both += b"".join(enhanced(a) + enhanced(b, which=1) for a, b in zip(made, ip, strict=True))
    both += b"".join(enhanced(each, which=2) for each in unknown)
    (tmp_path / "both.pcapng").write_bytes(both)
    (tmp_path / "other.pcap").write_bytes(pcap(made))
    expected = sum(1 for each in made if each.data[12:14] == b"\x08\x00" and each.data[23] == 6)
    chosen, count = Filter("ip and tcp"), 0
    with open_savefiles([str(tmp_path / "both.pcapng"), str(tmp_path / "other.pcap")]) as source:
        for block in source.blocks(100):
            count += len(chosen.select(block).frames)
    assert count == 3 * expected and chosen.inapplicable == 10
    assert chosen.counters == {
        "packets_filtered": 3 * len(made) + 10 - count,
        "packets_filter_inapplicable": 10,
        "packets_filter_inapplicable_9999": 10,
    }


FAMILIES = {"ip": (2, b"\x45"), "ip6": (30, b"\x60"), "other": (7, b"\x00")}
HEADERS = {0: "I", 109: "III"}


def of_families(linktype, order):
    """Frames that begin with an address family in this order; those of encapsulated IP with two words more."""
    frames = []
    for family, start in FAMILIES.values():
        head = struct.pack(order + HEADERS[linktype], family, *[0, 0][: len(HEADERS[linktype]) - 1])
        frames.append(head + start + bytes(59))
    return [Packet(10**18 + at, data, len(data), linktype) for at, data in enumerate(frames)]


@pytest.mark.skipif(not shutil.which("tcpdump"), reason="tcpdump is not installed")
@pytest.mark.parametrize("linktype", HEADERS)
@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("text", ["ip", "ip6", "not ip", "ip or ip6", "len > 0"])
def test_families_in_the_order_of_the_host_that_captured_are_taken_as_by_tcpdump(save, tmp_path, linktype, order, text):
    made, out = of_families(linktype, order), tmp_path / "out"
    path = save(pcap_header(order, linktype=linktype) + b"".join(pcap_record(each, order) for each in made))
    subprocess.run(["tcpdump", "-r", path, "-w", out, "--", text], check=True, capture_output=True)
    assert taken(path, Filter(text)) == taken(out)
    assert 0 < len(taken(out)) <= len(made)


@pytest.mark.parametrize("linktype", HEADERS)
def test_sections_of_either_order_in_one_file_are_filtered_each_by_its_own(save, linktype):
    parts = [
        section(order) + interface(order, linktype=linktype) + b"".join(enhanced(each, order) for each in made)
        for order in "<><"
        for made in [of_families(linktype, order)]
    ]
    assert len(taken(save(b"".join(parts)), Filter("ip"))) == 3
    assert len(taken(save(b"".join(parts)), Filter("not ip"))) == 6


@pytest.mark.parametrize("size", [0, 3, 4])
def test_a_frame_too_short_for_its_family_is_judged_all_the_same(save, size):
    data = of_families(0, ">")[0].data[:size]
    path = save(pcap_header(">", linktype=0) + pcap_record(Packet(10**18, data, 63), ">"))
    assert [len(taken(path, Filter(text))) for text in ("ip", "len > 0")] == [size == 4, 1]


@pytest.mark.parametrize(
    "text", ["tcp port", "foo bar", "port 99999", "tcp and (", "ip broadcast", "(" * 9999, "\0", "é"]
)
def test_a_bad_filter_is_told_with_its_text(text):
    with pytest.raises(CaptureError, match="filter") as raised:
        Filter(text)
    assert text in str(raised.value).replace("\\'", "'") or text == "\0"


@pytest.mark.parametrize(
    "text, why", [("inbound", "not in a frame"), ("ifindex 3", "not in a frame"), ("ip protochain 6", "backwards")]
)
def test_what_a_file_cannot_tell_or_linux_not_run_is_refused(text, why):
    with pytest.raises(CaptureError, match=f"filter '{text}': instruction .*{why}"):
        compile_filter(text, 1)


def test_without_libpcap_the_error_names_the_package():
    code = """
import ctypes
from sensor.capture import CaptureError
from sensor.capture.bpf import libpcap
libpcap._NAMES = ("libpcap-that-is-not-there.so",)
try:
    libpcap.compile_filter("tcp", 1)
except CaptureError as error:
    print(error)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "apt install libpcap0.8" in ran.stdout


def assembled(*rows):
    return np.array(list(rows), INSTRUCTION)


def returns(code, data, wirelen=None):
    """What the interpreter gives for a frame that lies between others."""
    around = np.frombuffer(b"\xa5" * 8 + data + b"\x5a" * 8, np.uint8)
    wirelen = len(data) if wirelen is None else wirelen
    return int(run(code, around, 8, len(data), wirelen, np.full(16, 7, np.int64)))


RETURN_A = (bpf.RET | bpf.A, 0, 0, 0)


@pytest.mark.parametrize(
    "bad",
    [
        [],
        [(bpf.LD | bpf.IMM, 0, 0, 1)],
        [(bpf.JMP | bpf.JA, 0, 0, 1), RETURN_A],
        [(bpf.JMP | bpf.JA, 0, 0, 2**32 - 1), RETURN_A],
        [(bpf.JMP | bpf.JEQ, 0, 1, 0), RETURN_A],
        [(bpf.JMP | bpf.JEQ, 1, 0, 0), RETURN_A],
        [(bpf.LD | bpf.MEM, 0, 0, 16), RETURN_A],
        [(bpf.STX, 0, 0, 16), RETURN_A],
        [(bpf.ALU | bpf.DIV, 0, 0, 0), RETURN_A],
        [(bpf.ALU | bpf.MOD, 0, 0, 0), RETURN_A],
        [(bpf.ALU | bpf.LSH, 0, 0, 32), RETURN_A],
        [(bpf.LD | bpf.ABS, 0, 0, 2**31), RETURN_A],
        [(bpf.LDX | bpf.ABS, 0, 0, 0), RETURN_A],
        [(0xFFFF, 0, 0, 0), RETURN_A],
        [(bpf.LD | bpf.IMM, 0, 0, 1)] * 4093 + [RETURN_A],
    ],
)
def test_a_program_that_may_not_run_is_refused(bad):
    code = assembled(*bad)
    with pytest.raises(ValueError, match=r"^(it has|instruction 0) "):
        check(code)


@pytest.mark.parametrize(
    "good",
    [
        [RETURN_A],
        [(bpf.JMP | bpf.JA, 0, 0, 0), RETURN_A],
        [(bpf.JMP | bpf.JEQ, 1, 0, 0), RETURN_A, RETURN_A],
        [(bpf.ST, 0, 0, 15), (bpf.LD | bpf.MEM, 0, 0, 15), RETURN_A],
        [(bpf.ALU | bpf.LSH, 0, 0, 31), RETURN_A],
        [(bpf.LD | bpf.ABS, 0, 0, 2**31 - 1), RETURN_A],
        [(bpf.LD | bpf.IMM, 0, 0, 1)] * 4092 + [RETURN_A],
    ],
)
def test_a_program_that_may_run_is_taken_by_linux_too(good):
    check(assembled(*good))
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ends[0], ends[1]:
        attach(ends[1], assembled(*good))


@pytest.mark.parametrize("size, width", [(bpf.W, 4), (bpf.H, 2), (bpf.B, 1)])
def test_loads_end_at_the_frame(size, width):
    data = bytes(range(1, 10))
    for at in range(12):
        expected = int.from_bytes(data[at : at + width]) if at + width <= len(data) else 0
        assert returns(assembled((bpf.LD | size | bpf.ABS, 0, 0, at), RETURN_A), data) == expected
        indexed = assembled((bpf.LDX | bpf.IMM, 0, 0, at), (bpf.LD | size | bpf.IND, 0, 0, 0), RETURN_A)
        assert returns(indexed, data) == expected
    assert returns(assembled((bpf.LDX | bpf.MSH | bpf.B, 0, 0, 9), (bpf.RET, 0, 0, 9)), data) == 0


def test_len_is_the_length_on_the_wire():
    assert returns(assembled((bpf.LD | bpf.LEN, 0, 0, 0), RETURN_A), b"ab", wirelen=70000) == 70000


def reference(code, data):
    """The filter machine by its description (bpf(4)), one instruction at a time; None where it reads past the frame."""
    a = x = at = 0
    cells = [0] * 16
    sizes = {bpf.W: 4, bpf.H: 2, bpf.B: 1}
    tests = {
        bpf.JEQ: int.__eq__,
        bpf.JGT: int.__gt__,
        bpf.JGE: int.__ge__,
        bpf.JSET: lambda one, other: bool(one & other),
    }
    operations = {
        bpf.ADD: int.__add__,
        bpf.SUB: int.__sub__,
        bpf.MUL: int.__mul__,
        bpf.DIV: int.__floordiv__,
        bpf.MOD: int.__mod__,
        bpf.AND: int.__and__,
        bpf.OR: int.__or__,
        bpf.XOR: int.__xor__,
        bpf.LSH: lambda one, other: one << other % 32,
        bpf.RSH: lambda one, other: one >> other % 32,
    }
    for _ in range(len(code)):
        operation, jt, jf, k = code[at].tolist()
        at += 1
        kind, operand = operation & 7, x if operation & 8 else k
        if kind in (bpf.LD, bpf.LDX):
            mode, size = operation & 0xE0, sizes[operation & 0x18]
            where = (k + x) % 2**32 if mode == bpf.IND else k
            if mode in (bpf.ABS, bpf.IND, bpf.MSH) and where + size > len(data):
                return 0
            value = {
                bpf.IMM: k,
                bpf.LEN: len(data),
                bpf.MEM: cells[k % 16],
                bpf.MSH: 4 * (data[where] & 15) if where < len(data) else 0,
            }.get(mode, int.from_bytes(data[where : where + size]))
            a, x = (value, x) if kind == bpf.LD else (a, value)
        elif kind == bpf.ST:
            cells[k] = a
        elif kind == bpf.STX:
            cells[k] = x
        elif kind == bpf.RET:
            return a if operation & bpf.A else k
        elif kind == bpf.MISC:
            a, x = (x, x) if operation & bpf.TXA else (a, a)
        elif operation == bpf.JMP | bpf.JA:
            at += k
        elif kind == bpf.JMP:
            at += jt if tests[operation & 0xF0](a, operand) else jf
        elif operation & 0xF0 == bpf.NEG:
            a = -a % 2**32
        elif operation & 0xF0 in (bpf.DIV, bpf.MOD) and operand == 0:
            return 0
        else:
            a = operations[operation & 0xF0](a, operand) % 2**32
    raise AssertionError("the program did not end")


NUMBERS = st.one_of(st.integers(0, 70), st.sampled_from([2**31 - 1, 2**31, 2**32 - 1]), st.integers(0, 2**32 - 1))


@st.composite
def programs(draw):
    """Checked programs; the cells that are read have been written, as Linux wants it."""
    operations = sorted(bpf._KNOWN - {bpf.RET | bpf.K, bpf.RET | bpf.A})
    rows = [
        (bpf.LD | bpf.IMM, 0, 0, draw(NUMBERS)),
        (bpf.ST, 0, 0, 0),
        (bpf.ST, 0, 0, 1),
        (bpf.MISC | bpf.TAX, 0, 0, 0),
    ]
    count = draw(st.integers(1, 25))
    for i in range(count):
        operation = draw(st.sampled_from(operations))
        ahead = st.integers(0, count - 1 - i)
        k = draw(ahead if operation == bpf.JMP | bpf.JA else st.integers(0, 1) if operation in bpf._MEMORY else NUMBERS)
        rows.append((operation, draw(ahead), draw(ahead), k))
    code = assembled(*rows, draw(st.sampled_from([RETURN_A, (bpf.RET, 0, 0, 3)])))
    try:
        check(code)
    except ValueError:
        assume(False)
    return code


@settings(derandomize=True, deadline=None, max_examples=500)
@given(code=programs(), data=st.binary(min_size=1, max_size=70))
def test_programs_do_what_their_description_and_linux_say(code, data):
    found = returns(code, data)
    assert found == reference(code, data)
    ends = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    with ends[0], ends[1]:
        attach(ends[1], code)
        ends[0].send(data)
        try:
            kept = ends[1].recv(1 << 16)
        except BlockingIOError:
            kept = b""
    assert kept == data[:found]


def test_a_block_without_frames_and_one_without_matches():
    path = PCAPS / "busy-browser.pcap"
    with open_savefiles([str(path)]) as source:
        block = next(iter(source.blocks(1)))
        assert len(Filter("vlan 4000").select(block).frames) == 0
        empty = type(block)(block.buffers, block.frames[:0])
        assert len(Filter("tcp").select(empty).frames) == 0
    assert packets(1)
