"""Sources of packets, made of what the options of capture say."""

import contextlib
import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, BinaryIO, Literal

import click

from sensor._jit import keep_in_memory
from sensor.cli.capture_options import Interfaces
from sensor.cli.main import USAGE, fail
from sensor.privileges import PrivilegeError, User, describe, give_up
from sensor.words import counted

if TYPE_CHECKING:
    from sensor.bell import Bell
    from sensor.capture import Capture, Savefiles
    from sensor.capture.live.af_packet import RingSettings
    from sensor.capture.live.interface_capture import InterfaceCapture
    from sensor.capture.live.live_capture import Live
    from sensor.capture.live.ring_opener import Opener

_SNIFF_S = 0.02  # a fifth of what an early alert may take: how long Scapy's worker may leave its manager unheard
_WAIT_S, _IDLE_S = 0.02, 0.25
"""How soon after packets without others those are judged; and how often time passes where none come."""

_NOTICES = 3
_ABSENT = (errno.ENODEV, errno.ENXIO)


def resolve(interfaces: Interfaces) -> Interfaces:
    """The same with the interfaces that there are in place of auto; CaptureError where there is none."""
    return replace(interfaces, names_given=tuple(_names(interfaces.names)))


@contextlib.contextmanager
def live(
    interfaces: Interfaces, user: User | None, bell: "Bell | None" = None
) -> Iterator[tuple["Capture", Sequence["InterfaceCapture"]]]:
    """A source for interfaces, when this process has become `user` and given up all privileges; and its taps, if known.

    `bell`: whoever takes from it is to be woken by that too, which Scapy does not do, but is awake often.
    CaptureError says what is in the way.
    """
    if interfaces.is_sniffed:
        with _sniffed(interfaces, user) as seen:
            yield seen, ()
        return
    with contextlib.ExitStack() as stack:
        with _opening():
            settings = _ready(interfaces)
            source = stack.enter_context(_source(settings, stack.enter_context(_opener(settings, user)), bell))
        _give_up(user, [each.interface for each in settings])
        for tap in source.taps:
            if tap.gap == "down":
                click.echo(f"sensor: {tap.interface} is down: `ip link set {tap.interface} up`", err=True)
        yield source, source.taps


@contextlib.contextmanager
def live_by(
    interfaces: Interfaces, user: User | None, asking: socket.socket, bell: "Bell", *, is_first: bool
) -> Iterator[tuple["Capture", Sequence["InterfaceCapture"]]]:
    """The same, of a process that got a socket to an opener from the one that started it."""
    from sensor.capture.live.ring_opener import Opener

    with contextlib.ExitStack() as stack:
        with _opening():
            settings = _ready(interfaces, is_first=is_first)
            opener = Opener(asking, [each.interface for each in settings])
            source = stack.enter_context(_source(settings, stack.enter_context(contextlib.closing(opener)), bell))
        _give_up(user, [each.interface for each in settings])
        yield source, source.taps


@contextlib.contextmanager
def _sniffed(interfaces: Interfaces, user: User | None) -> Iterator["Capture"]:
    """By Scapy, in this process: what it opened is used when nothing can be opened any more."""
    from sensor.capture.live.scapy_source import sniff

    names, text = _names(interfaces.names), interfaces.filter_text
    is_promiscuous = interfaces.promiscuous
    with sniff(names, text, snaplen=interfaces.snaplen, promiscuous=is_promiscuous, wait_s=_SNIFF_S) as (_, seen):
        _give_up(user, names)
        yield seen


@contextlib.contextmanager
def shared_opener(interfaces: Interfaces, user: User | None, by: Literal["hosts", "hash", "cpu"]) -> Iterator["Opener"]:
    """The opener for several processes, among which the frames of each interface are shared."""
    with contextlib.ExitStack() as stack:
        with _opening():
            opener = stack.enter_context(_opener(_ready(interfaces, by=by), user))
        yield opener


@contextlib.contextmanager
def _opening() -> Iterator[None]:
    """CaptureError says what is in the way of opening interfaces."""
    from sensor.capture import CaptureError

    try:
        yield
    except OSError as error:
        advice = "; `sensor interfaces` lists those that there are" if error.errno in _ABSENT else ""
        raise CaptureError(f"{error.strerror or error}{advice}") from error


def _ready(
    interfaces: Interfaces, *, by: Literal["hosts", "hash", "cpu"] | None = None, is_first: bool = True
) -> list["RingSettings"]:
    """Return the ring settings of each interface."""
    from sensor.capture.bpf.filter import Filter
    from sensor.capture.live.af_packet import RingSettings, geometry, linktype_of
    from sensor.capture.live.fanout import Fanout

    filter = Filter(interfaces.filter_text) if interfaces.filter_text else None
    return [
        RingSettings(
            name,
            ring=geometry(interfaces.ring),
            snaplen=interfaces.snaplen,
            promiscuous=interfaces.promiscuous,
            program=filter.program(linktype_of(name)) if filter else None,
            fanout=Fanout(by) if by else None,
            is_first=is_first,
        )
        for name in _names(interfaces.names)
    ]


@contextlib.contextmanager
def _opener(settings: Sequence["RingSettings"], user: User | None) -> Iterator["Opener"]:
    from sensor.capture.live.ring_opener import Opener

    with contextlib.closing(Opener.start(settings, user)) as opener:
        yield opener


@contextlib.contextmanager
def _source(settings: Sequence["RingSettings"], opener: "Opener", bell: "Bell | None") -> Iterator["Live"]:
    from sensor.capture.live.link_watch import LinkWatch
    from sensor.capture.live.live_capture import Live

    with (
        contextlib.closing(LinkWatch()) as watch,
        Live(settings, opener=opener, watch=watch, bell=bell, wait_s=_WAIT_S, idle_s=_IDLE_S) as source,
    ):
        yield source


def _give_up(user: User | None, names: Sequence[str]) -> None:
    try:
        give_up(user)
    except PrivilegeError as error:
        raise fail(str(error)) from None
    if user is not None:
        keep_in_memory()
    click.echo(f"sensor: listening on {', '.join(names)} {describe()}", err=True)


def _names(interfaces: Sequence[str]) -> list[str]:
    from sensor.capture import CaptureError
    from sensor.capture.live.interfaces import automatic, list_interfaces

    if "auto" not in interfaces:
        return list(dict.fromkeys(interfaces))
    found = [each.name for each in automatic(list_interfaces())]
    if not found:
        raise CaptureError("auto: no interface is up that can be captured from; `sensor interfaces` lists all")
    return list(dict.fromkeys([*found, *(name for name in interfaces if name != "auto")]))


@contextlib.contextmanager
def files(inputs: Sequence[str], filter_text: str, stdin: BinaryIO | None) -> Iterator[tuple["Savefiles", "Capture"]]:
    """Capture files, and what is seen of them through a filter. CaptureError says what is in the way."""
    from sensor.capture import open_savefiles
    from sensor.capture.bpf.filter import Filter
    from sensor.capture.bpf.filtered import Filtered

    filter = Filter(filter_text) if filter_text else None
    with open_savefiles(inputs, stdin=stdin) as source:
        yield source, Filtered(source, filter) if filter else source


def tell_left_out(source: "Savefiles") -> None:
    """Say what of directories was not read."""
    for notices, more in (
        (source.skipped, "files that are no captures"),
        (source.not_followed, "that are neither files nor folders"),
    ):
        for notice in notices if len(notices) <= _NOTICES + 1 else notices[:_NOTICES]:
            click.echo(f"sensor: {notice}", err=True)
        if len(notices) > _NOTICES + 1:
            click.echo(f"sensor: and {len(notices) - _NOTICES} more {more}", err=True)


def tell_losses(counters: Mapping[str, int]) -> None:
    """Say what was lost, where something was."""
    for name, what in (("ring_drops", "the ring was full: give --ring more MB"), ("nic_drops", "the card lost them")):
        if counters.get(name):
            click.echo(f"sensor: {counted(counters[name], 'packet')} lost, as {what}", err=True)


def tell_gaps(taps: Sequence["InterfaceCapture"]) -> None:
    """Say when nothing could be seen."""
    from sensor.clock import format_duration, rfc3339

    for gap in (gap for tap in taps for gap in tap.gaps):
        lasted = format_duration(gap.end - gap.start)
        click.echo(
            f"sensor: {gap.interface} saw nothing for {lasted} from {rfc3339(gap.start)}: {gap.reason}", err=True
        )


def check_filter(text: str) -> None:
    """A filter that is none is a usage error of one line."""
    from sensor.capture import CaptureError
    from sensor.capture.bpf.filter import Filter

    try:
        if text:
            Filter(text)
    except CaptureError as error:
        raise fail(str(error), USAGE) from None
