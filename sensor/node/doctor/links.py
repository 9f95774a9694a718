"""Links: whether an interface is there, up, and can be captured from, and what its driver does to frames."""

import difflib
from collections.abc import Collection, Iterable

from sensor.capture.live.af_packet import ARPHRD_LOOPBACK
from sensor.capture.live.interfaces import Interface, automatic
from sensor.node.doctor.check import Check, Mend, State

AUTO = "auto"
LINK, OFFLOADS = "link", "offloads"
_JOINING = ("gro", "lro", "tso")
"""Offloads that merge several frames into one. The removed VLAN tag is restored in the ring."""


def named(interfaces: Iterable[str], present: Collection[Interface]) -> list[str]:
    """The names asked for, once each; `auto` stands for those that live capture takes unasked."""
    found: list[str] = []
    for name in interfaces:
        found += [each.name for each in automatic(present)] if name == AUTO else [name]
    return list(dict.fromkeys(found))


def judge_link(name: str, found: Interface | None, others: Collection[str] = ()) -> Check:
    """The check of an interface; `others` are the names that there are."""
    if found is None:
        near = difflib.get_close_matches(name, others, 1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(others)}"
        return Check(LINK, State.FAILED, f"there is no such interface; {hint}", interface=name)
    if found.linktype is None:
        reason = f"its link layer (ARPHRD {found.hardware}) is not read; name an Ethernet one"
        return Check(LINK, State.FAILED, reason, interface=name)
    if not found.is_up:
        mend = Mend(("ip", "link", "set", name, "up"), is_safe=True)
        return Check(LINK, State.FAILED, "it is down", mend, name)
    if found.state not in ("up", "unknown"):
        reason = f"it is up, but has no link ({found.state}): is the cable in, and the other end up?"
        return Check(LINK, State.FAILED, reason, interface=name)
    speed = "" if found.speed is None else f", {found.speed:,} Mbit/s"
    return Check(LINK, State.OK, f"up{speed}, MTU {found.mtu:,}", interface=name)


def judge_offloads(found: Interface) -> Check:
    """The check of what an interface's driver joins."""
    on = [name for name in _JOINING if found.offloads.get(name)]
    if found.hardware == ARPHRD_LOOPBACK:
        return Check(
            OFFLOADS, State.OK, "no wire to differ from: what passes is as this host made it", None, found.name
        )
    if not found.offloads:
        return Check(OFFLOADS, State.SKIPPED, "the driver does not tell", interface=found.name)
    if not on:
        return Check(OFFLOADS, State.OK, "off: frames are as they were on the wire", interface=found.name)
    names = " and ".join(filter(None, (", ".join(name.upper() for name in on[:-1]), on[-1].upper())))
    reason = f"{names} {'is' if len(on) == 1 else 'are'} on: packets look larger, and fewer, than on the wire"
    argv = ("ethtool", "-K", found.name, *(part for name in on for part in (name, "off")))
    return Check(OFFLOADS, State.WARNING, reason, Mend(argv, is_safe=True), found.name)
