"""Oddities and refusals of packets: the names under which they are counted.

Zeek's names where it has them (its `weird.log`). The name reported is the member's in lower case.
"""

from enum import IntEnum


class Weird(IntEnum):
    """Oddities of a packet that was kept: each is the number of its bit in PACKET["weird"]."""

    TRUNCATED_LINK = 1
    """A link-layer header inside a tunnel is cut short."""
    TRUNCATED_IP = 2
    """An IP header is cut short, or the IP length field claims more than the frame had on the wire."""
    BAD_IP_VERSION = 3
    """The version field is not that of the protocol announced: neither 4 nor 6, or the other one."""
    BAD_IP_HEADER_LENGTH = 4
    """The IPv4 header length field is below five words."""
    BAD_IP_TOTAL_LENGTH = 5
    """The IPv4 total length is shorter than the header."""
    TRUNCATED_ARP = 6
    """An ARP message is cut short."""
    CORRUPT_ARP_HEADER = 7
    """An ARP message whose address lengths or types are not those of Ethernet and IPv4."""
    TOO_MANY_LAYERS = 8
    """More than 16 layers of headers: deeper ones are not decoded."""
    UNKNOWN_ARP_OPCODE = 9
    """An ARP operation other than request (1) and reply (2)."""
    TRUNCATED_EXTENSION_HEADER = 10
    """An IPv6 extension header, or an authentication header, is cut short."""
    ROUTING0_HDR = 11
    """An IPv6 type 0 routing header (deprecated by RFC 5095)."""
    BAD_JUMBOGRAM = 12
    """An IPv6 jumbo payload option whose length an ordinary header could have held (RFC 2675)."""
    TRUNCATED_GRE = 13
    """A GRE header is cut short."""
    UNKNOWN_GRE_VERSION = 14
    """A GRE version other than 0 (RFC 2784) and 1 (RFC 2637)."""
    GRE_ROUTING = 15
    """A GRE header with the routing field of RFC 1701, which is not followed."""
    TRUNCATED_TCP = 16
    """A TCP header is cut short; where the snap length did it, the ports may be known, and nothing else."""
    BAD_TCP_HEADER_LENGTH = 17
    """The TCP data offset is below five words, or points past the segment."""
    TRUNCATED_UDP = 18
    """A UDP header is cut short; where the snap length did it, the ports may be known."""
    BAD_UDP_LENGTH = 19
    """The UDP length field is 1 to 7, less than its own header."""
    UDP_DATAGRAM_LENGTH_MISMATCH = 20
    """The UDP length field and the IP payload differ."""
    TRUNCATED_ICMP = 21
    """An ICMP header is cut short."""
    TRUNCATED_SCTP = 22
    """An SCTP common header is cut short; where the snap length did it, the ports may be known."""
    FRAGMENT_INCONSISTENCY = 23
    """A fragment overlaps another with different bytes: ambiguous, so the datagram is dropped."""
    FRAGMENT_OVERLAP = 24
    """A fragment overlaps another in part; over IPv6 the datagram is dropped (RFC 5722)."""
    FRAGMENT_SIZE_INCONSISTENCY = 25
    """Fragments disagree on where their datagram ends: ambiguous, so the datagram is dropped."""
    FRAGMENT_TOO_LONG = 26
    """A fragment reaches past the 65535 bytes that a datagram can have."""
    BAD_FRAGMENT_LENGTH = 27
    """A fragment that is empty, or is not the last and not a multiple of 8 bytes long."""
    NESTED_FRAGMENT = 28
    """A fragment inside a reassembled datagram, which is not followed."""
    IPV4_MAPPED_ADDRESS = 29
    """An IPv6 packet from or to ::ffff:a.b.c.d, which is for use inside of hosts (RFC 4291, 2.5.5.2)."""


class Refusal(IntEnum):
    """Reasons why no network layer of a packet was understood. Those below 64 equal the Weird of the same name."""

    NONE = 0
    """The packet was decoded."""
    TRUNCATED_LINK = Weird.TRUNCATED_LINK
    """A link-layer header (tags, labels and PPP included) is cut short."""
    TRUNCATED_IP = Weird.TRUNCATED_IP
    """The IP header is cut short."""
    BAD_IP_VERSION = Weird.BAD_IP_VERSION
    """The IP version field is not that of the protocol announced."""
    BAD_IP_HEADER_LENGTH = Weird.BAD_IP_HEADER_LENGTH
    """The IPv4 header length field is below five words."""
    BAD_IP_TOTAL_LENGTH = Weird.BAD_IP_TOTAL_LENGTH
    """The IPv4 total length is shorter than the header."""
    TRUNCATED_ARP = Weird.TRUNCATED_ARP
    """The ARP message is cut short."""
    CORRUPT_ARP_HEADER = Weird.CORRUPT_ARP_HEADER
    """The ARP message is not about Ethernet and IPv4."""
    TOO_MANY_LAYERS = Weird.TOO_MANY_LAYERS
    """16 layers of link headers, and no network layer yet."""
    NOT_IP = 64
    """The link layer carries another protocol: LLDP, STP, PPPoE discovery, EAPOL, CDP, ..."""
    UNKNOWN_LINKTYPE = 65
    """No decoder for this link type."""
    ENCRYPTED = 66
    """The link layer's data is encrypted: a protected frame of 802.11, or MACsec."""
