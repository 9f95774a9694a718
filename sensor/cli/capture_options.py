"""The options of live capture, each declared once: for the command line, and for that of processes that capture too."""

import functools
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import click

from sensor.cli.main import USAGE, fail
from sensor.option_tables import CAPTURE, SOURCES
from sensor.privileges import PrivilegeError, User, successor

Flag = Callable[[Any], Any]


def _flags(*flags: str, **how: Any) -> Any:
    """A field that the command line says by these flags."""
    return field(metadata={"flags": flags, "how": how})


def _number(name: str, metavar: str, help: str) -> dict[str, Any]:
    """Return the attributes of the click option for a number of `[capture]`."""
    found = CAPTURE[name]
    least, most = (None if each is None else int(each) for each in (found.min, found.max))
    kind = click.IntRange(least, most)
    return {"type": kind, "default": found.default, "show_default": True, "metavar": metavar, "help": help}


@dataclass(frozen=True, kw_only=True)
class Interfaces:
    """The command line's options of live capture, in the order of its help."""

    names_given: tuple[str, ...] = _flags(
        "-i", "--interface", multiple=True, metavar="IFACE", help="Or auto. Repeat for several."
    )
    ring: int = _flags("--ring", **_number("ring", "MB", "Ring of each."))
    snaplen: int = _flags("--snaplen", **_number("snaplen", "BYTES", "Bytes of a packet that are taken."))
    promiscuous: bool = _flags(
        "--promiscuous/--no-promiscuous",
        default=CAPTURE["promiscuous"].default,
        help="Take also, or not, what is not addressed to this host.",
    )
    user: str | None = _flags(
        "--user", metavar="NAME", help="Whom root becomes to decode: sensor if there is one, else nobody."
    )
    source: Literal["auto", "afpacket", "scapy"] = _flags(
        "--source",
        type=click.Choice(SOURCES),
        default=SOURCES[0],
        help="Scapy captures slowly, also where there is no AF_PACKET.",
    )
    filter_text: str = _flags(
        "-f",
        "--filter",
        default=CAPTURE["filter"].default,
        metavar="FILTER",
        help="Packets that match this only, as for tcpdump.",
    )

    @property
    def is_sniffed(self) -> bool:
        """True if Scapy captures."""
        return self.source == "scapy" or (self.source == "auto" and not hasattr(socket, "AF_PACKET"))

    @property
    def options(self) -> list[str]:
        """The same, for the command line of a process that captures too; no file is to say otherwise there."""
        return [part for each in fields(self) for part in _said(each.metadata["flags"], getattr(self, each.name))]

    @property
    def names(self) -> tuple[str, ...]:
        """The interfaces."""
        return self.names_given

    def successor(self) -> User | None:
        """Whom this process is to become; usage error if there is no such user."""
        try:
            return successor(self.user or None)
        except PrivilegeError as error:
            raise fail(str(error), USAGE) from None


def _said(flags: tuple[str, ...], value: Any) -> Iterator[str]:
    """Give the command-line arguments that set a field."""
    flag = flags[-1]
    match value:
        case None:
            pass
        case bool():
            yield flag.split("/")[not value]
        case tuple():
            for each in value:
                yield from (flag, each)
        case _:
            yield from (flag, str(value))


def capture_option(name: str) -> Flag:
    """The option of one of them, for commands that have not all."""
    found = next(each for each in fields(Interfaces) if each.name == name)
    return click.option(*found.metadata["flags"], found.name, **found.metadata["how"])


def interface_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options of live capture, given to `function` as its argument `interfaces`."""

    @functools.wraps(function)
    def gathered(**given: Any) -> Any:
        own = {each.name: given.pop(each.name) for each in fields(Interfaces)}
        return function(interfaces=Interfaces(**own), **given)

    for each in reversed(fields(Interfaces)):
        gathered = capture_option(each.name)(gathered)
    return gathered
