"""A program for the kernel that maps each frame to a number: the same for all packets between two hosts.

Both directions of a pair of hosts, all fragments, and ICMP and ICMPv6 errors about a packet of the pair have one
number: an error has that of the packet it quotes, as `keep_share` does for files. It covers IPv4 and IPv6, with or
without VLAN tags; for a tunnel it uses the tunnel's ends. All other frames (ARP, MPLS, PPPoE), frames too short for
their addresses, and frames with more tags than `_TAGS` have the number 0. A fragmented error is numbered by its own
addresses, as the quote is in only one of its fragments.

Offsets count from the network header of a received frame, and from the link layer of a sent one: there Linux has the
frame's start when it distributes frames (net/packet/af_packet.c). They are not relative to the network header
(SKF_NET_OFF): with that, older kernels see only the first part of a frame, and for a frame sent by a packet socket that
header lies behind tags that the frame's protocol still names.
"""

import numpy as np

from sensor.capture.bpf.program import (
    ABS,
    ADD,
    ALU,
    AND,
    BESIDE,
    IMM,
    IND,
    JA,
    JEQ,
    JGE,
    JMP,
    JSET,
    LD,
    LDX,
    LEN,
    LSH,
    MEM,
    MISC,
    MUL,
    RET,
    RSH,
    ST,
    STX,
    SUB,
    TAX,
    TXA,
    XOR,
    A,
    B,
    H,
    K,
    Line,
    W,
    X,
    assemble,
)

_PROTOCOL, _PACKET_TYPE, _HARDWARE = BESIDE, BESIDE + 4, BESIDE + 28  # SKF_AD_PROTOCOL, _PKTTYPE, _HATYPE
_OUTGOING = 4  # PACKET_OUTGOING
_FRAMED = (1, 772)  # ARPHRD_ETHER, ARPHRD_LOOPBACK: frames sent have an Ethernet header
_ETHERNET = 14
_TAGS = 3  # the most that remain in the bytes
_TPIDS = (0x8100, 0x88A8, 0x9100)
_IPV4, _IPV6 = 0x0800, 0x86DD
_ICMP, _ICMPV6 = 1, 58
_ERRORS, _ERRORS_V6 = (3, 4, 5, 11, 12), (1, 2, 3, 4)  # types that quote a packet, as in the decoder
_BASE, _SRC, _DST, _NEXT = range(4)  # cells of memory; _BASE: start of the IP header that decides
_FACTOR = 0x85EB_CA6B  # odd, of MurmurHash3's finish


def pair_program(key: int) -> np.ndarray:
    """Return the program (INSTRUCTION rows); `key`, a secret odd number of 32 bits, makes its numbers unpredictable."""
    return assemble([*_network(), *_ipv4(key), *_ipv6(key), "mix", *_mixed(key)])


def _network() -> list[Line]:
    """Find the network layer: X is its start."""
    lines: list[Line] = [(LD | W | ABS, _PACKET_TYPE), (JMP | JEQ | K, _OUTGOING, "", "inward")]
    lines += [(LD | W | ABS, _HARDWARE)]
    lines += [(JMP | JEQ | K, number, "framed", "") for number in _FRAMED]
    lines += ["inward", (LDX | IMM, 0), (LD | W | ABS, _PROTOCOL), (JMP | JA, "layer 0")]
    lines += ["framed", (LDX | IMM, _ETHERNET), (LD | H | ABS, _ETHERNET - 2)]
    for number in range(_TAGS):
        lines += [f"layer {number}", (JMP | JEQ | K, _IPV4, "ipv4", ""), (JMP | JEQ | K, _IPV6, "ipv6", "")]
        lines += [(JMP | JEQ | K, tpid, f"tag {number}", "") for tpid in _TPIDS]
        lines += [(JMP | JA, "other"), f"tag {number}"]
        lines += [(LD | H | IND, 2), (ST, _NEXT), *_moved(4), (LD | MEM, _NEXT)]
    lines += [(JMP | JEQ | K, _IPV4, "ipv4", ""), (JMP | JEQ | K, _IPV6, "ipv6", "other")]
    return [*lines, "other", (RET | K, 0)]


def _ipv4(key: int) -> list[Line]:
    lines: list[Line] = ["ipv4", (STX, _BASE), (LD | B | IND, 9), (JMP | JEQ | K, _ICMP, "", "pair")]
    lines += [(LD | H | IND, 6), (JMP | JSET | K, 0x3FFF, "pair", "")]  # a fragment: as the other fragments
    lines += [(LD | B | IND, 0), (ALU | AND | K, 15), (ALU | LSH | K, 2), (ALU | ADD | X, 0), (MISC | TAX, 0)]
    lines += [(LD | B | IND, 0), *((JMP | JEQ | K, error, "error", "") for error in _ERRORS), (JMP | JA, "pair")]
    lines += ["error", *_moved(8), *_quote(4, 20, "pair")]
    return [*lines, "pair", (LDX | MEM, _BASE), *_host(key, 12, 1, _SRC), *_host(key, 16, 1, _DST), (JMP | JA, "mix")]


def _ipv6(key: int) -> list[Line]:
    lines: list[Line] = ["ipv6", (STX, _BASE), (LD | B | IND, 6), (JMP | JEQ | K, _ICMPV6, "", "pair v6")]
    lines += [(LD | B | IND, 40), *((JMP | JEQ | K, error, "error v6", "") for error in _ERRORS_V6)]
    lines += [(JMP | JA, "pair v6"), "error v6", *_moved(48), *_quote(6, 40, "pair v6")]
    return [*lines, "pair v6", (LDX | MEM, _BASE), *_host(key, 8, 4, _SRC), *_host(key, 24, 4, _DST)]


def _quote(version: int, size: int, otherwise: str) -> list[Line]:
    """Use the header at X to decide, if it is complete and of that version."""
    whole: list[Line] = [*_moved(size), (LD | W | LEN, 0), (JMP | JGE | X, 0, "", otherwise), *_moved(-size)]
    return [*whole, (LD | B | IND, 0), (ALU | RSH | K, 4), (JMP | JEQ | K, version, "", otherwise), (STX, _BASE)]


def _moved(by: int) -> list[Line]:
    return [(MISC | TXA, 0), (ALU | (ADD if by > 0 else SUB) | K, abs(by)), (MISC | TAX, 0)]


def _host(key: int, at: int, words: int, cell: int) -> list[Line]:
    """Put the hash of an address into a cell.

    Each word is multiplied by the key and by a fixed number; after each, high bits are folded onto low ones: the number
    is taken modulo the members, so the low bits have to depend on all.
    """
    lines: list[Line] = []
    for word in range(words):
        before: list[Line] = [(LDX | MEM, cell), (ALU | XOR | X, 0)] if word else [(ALU | XOR | K, key)]
        lines += [(LD | W | IND, at + 4 * word), *before, *_stirred(key, 15), *_stirred(_FACTOR, 13)]
        lines += [(ST, cell), (LDX | MEM, _BASE)]
    return lines


def _stirred(factor: int, shift: int) -> list[Line]:
    return [(ALU | MUL | K, factor), (MISC | TAX, 0), (ALU | RSH | K, shift), (ALU | XOR | X, 0)]


def _mixed(key: int) -> list[Line]:
    """Combine the pair's number: a sum, so that the order of the hosts does not matter."""
    return [(LD | MEM, _SRC), (LDX | MEM, _DST), (ALU | ADD | X, 0), *_stirred(key, 16), (RET | A, 0)]
