"""Options that say what is captured, and sources made of them."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from sensor.cli.main import USAGE, fail

if TYPE_CHECKING:
    from sensor.capture import Capture, Savefiles
    from sensor.capture.live import Live

WAIT_S = 0.02  # a fifth of what an early alert may take: how long a live worker may leave its manager unheard

filter_option: Callable[[Any], Any] = click.option(
    "-f", "--filter", "filter_text", default="", metavar="FILTER", help="Packets that match this only, as for tcpdump."
)


def interface_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of live capture."""
    for option in (
        click.option("--no-promiscuous", is_flag=True, help="Take only what is addressed to this host."),
        click.option("--snaplen", type=click.IntRange(64, 262144), default=262144, show_default=True, metavar="BYTES"),
        click.option(
            "--ring", type=click.IntRange(1, 65536), default=64, show_default=True, metavar="MB", help="Ring of each."
        ),
        click.option(
            "-i", "--interface", "interfaces", multiple=True, metavar="IFACE", help="Or auto. Repeat for several."
        ),
    ):
        function = option(function)
    return function


@contextlib.contextmanager
def live(
    interfaces: Sequence[str], filter_text: str, *, ring: int, snaplen: int, promiscuous: bool
) -> Iterator["Live"]:
    """A source for interfaces. CaptureError says what is in the way."""
    from sensor.capture import CaptureError
    from sensor.capture.af_packet import Settings, geometry, linktype_of
    from sensor.capture.filter import Filter
    from sensor.capture.link_watch import LinkWatch
    from sensor.capture.live import Live

    names = _names(interfaces)
    filter = Filter(filter_text) if filter_text else None
    try:
        settings = [
            Settings(
                name,
                ring=geometry(ring),
                snaplen=snaplen,
                promiscuous=promiscuous,
                program=filter.program(linktype_of(name)) if filter else None,
            )
            for name in names
        ]
        with contextlib.closing(LinkWatch()) as watch, Live(settings, watch=watch, wait_s=WAIT_S) as source:
            click.echo(f"sensor: listening on {', '.join(names)}", err=True)
            yield source
    except OSError as error:
        raise CaptureError(f"{error.strerror}; `sensor interfaces` lists those that there are") from error


def _names(interfaces: Sequence[str]) -> list[str]:
    from sensor.capture import CaptureError
    from sensor.capture.interfaces import automatic, list_interfaces

    if "auto" not in interfaces:
        return list(dict.fromkeys(interfaces))
    found = [each.name for each in automatic(list_interfaces())]
    if not found:
        raise CaptureError("auto: no interface is up that can be captured from; `sensor interfaces` lists all")
    return list(dict.fromkeys([*found, *(name for name in interfaces if name != "auto")]))


@contextlib.contextmanager
def files(inputs: Sequence[str], filter_text: str, stdin: BinaryIO) -> Iterator[tuple["Savefiles", "Capture"]]:
    """Capture files, and what is seen of them through a filter. CaptureError says what is in the way."""
    from sensor.capture import open_savefiles
    from sensor.capture.filter import Filter
    from sensor.capture.filtered import Filtered

    filter = Filter(filter_text) if filter_text else None
    with open_savefiles(inputs, stdin=stdin) as source:
        yield source, Filtered(source, filter) if filter else source


def tell_losses(source: "Live") -> None:
    """Say what was lost, where something was."""
    from sensor.clock import format_duration, rfc3339

    counters = source.counters
    for name, what in (("ring_drops", "the ring was full: give --ring more MB"), ("nic_drops", "the card lost them")):
        if counters[name]:
            click.echo(f"sensor: {counters[name]:,} packets were lost, as {what}", err=True)
    for gap in source.gaps:
        lasted = format_duration(gap.end - gap.start)
        click.echo(
            f"sensor: {gap.interface} saw nothing for {lasted} from {rfc3339(gap.start)}: {gap.reason}", err=True
        )


def check_filter(text: str) -> None:
    """A filter that is none is a usage error of one line."""
    from sensor.capture import CaptureError
    from sensor.capture.filter import Filter

    try:
        if text:
            Filter(text)
    except CaptureError as error:
        raise fail(str(error), USAGE) from None
