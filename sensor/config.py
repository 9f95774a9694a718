"""Settings: what the command line asks for, checked before anything runs."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from sensor.clock import SECOND, parse_duration
from sensor.decode import PORTS_MAX, DecodeOptions, check_ports
from sensor.detection import Detection, DetectionError, Option
from sensor.detection.load import choose, instantiate, load_installed, load_plugins, parse_settings, source_digest
from sensor.detection.option import Value
from sensor.flows import FlowOptions
from sensor.flows.options import KEYS
from sensor.settings_file import SettingsFile

_DEFAULT = FlowOptions()


def _wait(ns: int, help: str) -> Option:
    return Option(f"{ns // SECOND}s", help=help)


class FlowKeyOption(Option):
    """What tells flows apart, as text."""

    def check(self, value: Value) -> None:
        """Raise ValueError where there is no such key."""
        if value not in KEYS:
            raise ValueError(f"{value!r} is not {' or '.join(KEYS)}")


FLOWS: dict[str, Option] = {
    "capacity": Option(_DEFAULT.capacity, min=1, max=1 << 30, help="flows held at once"),
    "contacts": Option(_DEFAULT.contacts, min=1, max=1 << 30, help="who has tried which service: remembered for a day"),
    "tcp_attempt": _wait(_DEFAULT.tcp_attempt, "wait for the answer to a SYN"),
    "tcp_half_open": _wait(_DEFAULT.tcp_half_open, "wait for the originator to go on after a SYN-ACK"),
    "tcp_inactivity": _wait(_DEFAULT.tcp_inactivity, "silence that ends a TCP connection"),
    "udp_inactivity": _wait(_DEFAULT.udp_inactivity, "silence that ends a UDP or SCTP flow"),
    "icmp_inactivity": _wait(_DEFAULT.icmp_inactivity, "silence that ends an ICMP flow"),
    "tcp_close": _wait(_DEFAULT.tcp_close, "how long a closed connection is remembered"),
    "tcp_reset": _wait(_DEFAULT.tcp_reset, "how long a reset connection is remembered"),
    "key": FlowKeyOption(_DEFAULT.key, help="five_tuple, or network: that with the outermost VLAN and tunnel id"),
}
"""The options of the flow table, set like those of a detection: `--set flows.tcp_attempt=10s`."""


class Ports(Option):
    """Some UDP ports, as text: `4789,8472`, or nothing."""

    def check(self, value: Value) -> None:
        """Raise ValueError where it is not that."""
        check_ports(_ports(str(value)))


def _ports(text: str) -> tuple[int, ...]:
    try:
        return tuple(int(each) for each in text.split(",") if text)
    except ValueError:
        raise ValueError(f"{text!r} is not a list of ports, such as 4789,8472") from None


_TUNNELS = {
    "vxlan": "VXLAN",
    "vxlan_gpe": "VXLAN with the generic protocol extension",
    "geneve": "Geneve",
    "gre": "GRE in UDP",
    "mpls": "MPLS in UDP",
    "lisp": "LISP",
    "l2tp": "L2TP",
    "gtpu": "GTP-U",
    "teredo": "Teredo",
    "tzsp": "TZSP",
    "hp_erm": "HP's remote mirroring",
}


def _default_ports(tunnel: str) -> str:
    return ",".join(map(str, getattr(DecodeOptions(), f"{tunnel}_ports")))


DECODE: dict[str, Option] = {
    f"{tunnel}_ports": Ports(_default_ports(tunnel), help=f"UDP ports of {name}, {PORTS_MAX} at most")
    for tunnel, name in _TUNNELS.items()
}
"""The options of decoding, set likewise: `--set decode.vxlan_ports=4789,8472`."""

_OF_ALL: dict[str, dict[str, Option]] = {"flows": FLOWS, "decode": DECODE}


@dataclass(frozen=True)
class Settings:
    """What is to run, and how."""

    detections: tuple[type[Detection], ...]
    values: dict[str, dict[str, Value]]
    """What is set otherwise than by default, by name of the detection."""
    flows: FlowOptions
    decode: DecodeOptions
    sketch_key: tuple[int, int] | None = None
    """Of a cluster: what its sketches are keyed with. None: those of all sensors alike."""
    sources: dict[str, str] = field(default_factory=dict, compare=False)
    """A digest of the file that each detection is defined in, as it was read, by the detection's name."""
    notices: tuple[str, ...] = field(default=(), compare=False)
    """What whoever asked for these should know."""

    def make(self) -> list[Detection]:
        """A set of instances for one node."""
        made = instantiate(self.detections, self.values)
        for each in made:
            each.sketch_key = self.sketch_key
        return made

    def of_cluster(self, secret: bytes) -> "Settings":
        """The same for a node of a cluster with a secret of 16 bytes."""
        return replace(self, sketch_key=(int.from_bytes(secret[:8], "big"), int.from_bytes(secret[8:], "big")))


def configure(
    names: Sequence[str] = (),
    plugins: Sequence[str] = (),
    assignments: Sequence[str] = (),
    file: str | None = None,
) -> Settings:
    """Load what is installed and the given plugins (files, folders), choose, and set options; DetectionError is a line.

    What a settings file says comes first: names given replace its own, plugins are added, and assignments win.
    """
    kept = SettingsFile.read(file) if file else SettingsFile()
    available = list(load_installed())
    notices = []
    for path in dict.fromkeys((*kept.plugins, *plugins)):
        found = load_plugins(path)
        available += found.detections
        notices += [found.notice] if found.notice else []
    chosen = choose(available, names or kept.names)
    if not chosen:
        notices.append(f"no detection runs: {file} has `detections = []`")
    assignments = (*kept.assignments, *assignments)
    values = parse_settings(assignments, {each.name: each.options for each in chosen} | _OF_ALL)
    for_all = {name: _without_overrides(name, values.pop(name)) for name in _OF_ALL}
    flows, decode = _flow_options(for_all["flows"]), _decode_options(for_all["decode"])
    sources = {each.name: source_digest(each) for each in chosen}
    settings = Settings(tuple(chosen), values, flows, decode, sources=sources, notices=tuple(notices))
    for each in settings.make():
        each.define()
    return settings


def _without_overrides(name: str, values: dict[str, Value]) -> dict[str, Value]:
    if overrides := [option for option in values if "@" in option]:
        raise DetectionError(f"{name}.{overrides[0]}: only thresholds of detections can differ by key")
    return values


def _flow_options(values: dict[str, Value]) -> FlowOptions:
    key = str(values.get("key", _DEFAULT.key))
    numbers = {name: value for name, value in values.items() if name != "key"}
    given = {name: parse_duration(text) if isinstance(text, str) else int(text) for name, text in numbers.items()}
    return FlowOptions(**given, key=key)


def _decode_options(values: dict[str, Value]) -> DecodeOptions:
    try:
        return DecodeOptions(**{name: _ports(str(text)) for name, text in values.items()})
    except ValueError as error:  # a port of two tunnels
        raise DetectionError(f"decode: {error}") from None
