"""The network interfaces of this machine as capture needs them, and the choice of those to capture by default.

They are those of the calling thread's network namespace. Needs no privilege. pyroute2 is imported at first use: that
takes 0.1 s.
"""

import contextlib
import ctypes
import fcntl
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sensor.capture.live.af_packet import ARPHRD_LOOPBACK, LINKTYPES

_UP = 0x1
_SIOCETHTOOL, _GDRVINFO, _DRVINFO_SIZE = 0x8946, 0x3, 196  # <linux/sockios.h>, <linux/ethtool.h>
_SPEED_MAX = 1 << 24  # Mbit/s; an unknown speed is reported as all ones
_OFFLOADS = {
    "gro": "generic-receive-offload",
    "lro": "large-receive-offload",
    "tso": "tcp-segmentation-offload",
    "rx-vlan": "rx-vlan-offload",
}
_COUNTERS = ("rx_packets", "rx_bytes", "rx_dropped", "rx_missed_errors")
_COPIES = {"vxlan", "geneve", "gretap", "ip6gretap", "erspan", "ifb"}
"""Kinds whose frames pass another interface too: inside tunnels, which are decoded, or redirected."""


@dataclass(frozen=True, slots=True)
class Interface:
    """Properties and counters of one interface."""

    name: str
    index: int
    kind: str
    """The software that makes it ("bridge", "veth", "vlan", ...), "" for hardware and loopback."""
    is_up: bool
    """True if it is configured up; its actual state is `state`."""
    state: str
    """RFC 2863's operational state in lower case: up, down, lowerlayerdown, dormant, unknown (for loopback), ..."""
    hardware: int
    """ARPHRD_ number."""
    linktype: int | None
    """LINKTYPE_ of its frames; None if it cannot be captured from."""
    mtu: int
    promiscuity: int
    """The number of users that requested promiscuous mode."""
    driver: str
    """The driver's name; "" if unknown."""
    speed: int | None
    """Mbit/s."""
    offloads: dict[str, bool]
    """gro, lro and tso merge frames, rx-vlan removes tags; empty if the driver does not report them."""
    statistics: dict[str, int]
    """rx_packets, rx_bytes, rx_dropped, rx_missed_errors, since the driver was loaded."""
    master: int | None = None
    """Index of the bridge or bond that it is a port of."""
    below: int | None = None
    """Index of its lower interface in this namespace, or of a veth's other end."""


def list_interfaces() -> list[Interface]:
    """Return all interfaces, in order of their index."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        links = list(route.get_links())
    return sorted((_interface(link) for link in links), key=lambda each: each.index)


def counters() -> dict[str, dict[str, int]]:
    """Return the current statistics of all interfaces, by name; cheap, as drivers are asked nothing else."""
    from pyroute2 import IPRoute

    with IPRoute() as route:
        return {link.get("ifname"): _statistics(link) for link in route.get_links()}


def automatic(interfaces: Iterable[Interface]) -> list[Interface]:
    """Return the interfaces that together see each frame of this machine once, as far as can be known.

    All that are up, except: loopback; those of an unsupported link layer; ports of a bridge or bond that is up (in
    promiscuous mode it sees their frames); upper interfaces of another one taken (vlan, macvlan), and the second end of
    a veth with both ends here; tunnels and ifb, as their frames pass another interface in another form.
    """
    able = {each.index: each for each in interfaces if _is_able(each)}
    alone = [each for each in able.values() if each.master not in able]
    return [each for each in alone if each.below not in able or (each.kind == "veth" and each.index < each.below)]


def _is_able(each: Interface) -> bool:
    is_live = each.is_up and each.state in ("up", "unknown")
    return is_live and each.linktype is not None and each.hardware != ARPHRD_LOOPBACK and each.kind not in _COPIES


def _interface(link: Any) -> Interface:
    name = link.get("ifname")
    about = link.get("linkinfo")
    is_elsewhere = link.get("link_netnsid") is not None
    return Interface(
        name=name,
        index=link["index"],
        kind=(about.get("kind") if about else None) or "",
        is_up=bool(link["flags"] & _UP),
        state=(link.get("operstate") or "unknown").lower(),
        hardware=link["ifi_type"],
        linktype=LINKTYPES.get(link["ifi_type"]),
        mtu=link.get("mtu") or 0,
        promiscuity=link.get("promiscuity") or 0,
        driver=_driver(name),
        speed=_speed(name),
        offloads=_offloads(name),
        statistics=_statistics(link),
        master=link.get("master"),
        below=None if is_elsewhere else link.get("link"),
    )


def _statistics(link: Any) -> dict[str, int]:
    told = link.get("stats64") or {}
    return {counter: told.get(counter, 0) for counter in _COUNTERS}


def _driver(name: str) -> str:
    answer = ctypes.create_string_buffer(struct.pack("I", _GDRVINFO), _DRVINFO_SIZE)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asking, contextlib.suppress(OSError):
        fcntl.ioctl(asking, _SIOCETHTOOL, struct.pack("16sP16x", name.encode(), ctypes.addressof(answer)))
        return answer.raw[4:36].split(b"\0")[0].decode(errors="replace")
    return ""


def _speed(name: str) -> int | None:
    speed = _ask(name, "get_link_settings")
    return int(speed.speed) if speed is not None and 0 < speed.speed < _SPEED_MAX else None


def _offloads(name: str) -> dict[str, bool]:
    flags = _ask(name, "get_offload_flags")
    return {} if flags is None else {short: flags[long] for short, long in _OFFLOADS.items()}


def _ask(name: str, question: str) -> Any:
    """Return the driver's answer, None if it gives none."""
    from pyroute2.ethtool.ioctl import EthtoolError, IoctlEthtool

    with contextlib.closing(IoctlEthtool(name)) as ethtool, contextlib.suppress(EthtoolError, OSError):
        return getattr(ethtool, question)()
    return None
