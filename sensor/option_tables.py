"""The options of capture, decoding, flows and the cluster: each declared once, for command line, file and reference."""

import json
from collections.abc import Mapping
from typing import Any

from sensor.clock import SECOND, parse_duration
from sensor.cluster.settings import ClusterSettings
from sensor.decode import PORTS_MAX, DecodeOptions, check_ports
from sensor.detection.option import ChoiceOption, Option, Value, shown
from sensor.flows import FlowOptions
from sensor.flows.options import KEYS

_FLOWS, _CLUSTER = FlowOptions(), ClusterSettings()


class TextsOption(Option):
    """An option whose value is several texts: a list in a file."""

    def __init__(self, default: tuple[str, ...], *, example: str, help: str = "") -> None:
        super().__init__(default, help=help)
        self.example = example

    @property
    def wanted(self) -> str:
        """The type of its values, for people."""
        return f'a list of texts, such as ["{self.example}"]'

    def accept(self, value: Any) -> Value:
        """Return the texts of a list as a tuple; ValueError if it is not a list of texts."""
        if not isinstance(value, list):
            raise ValueError(f"must be {self.wanted}, not {shown(value)}")
        if wrong := [each for each in value if not isinstance(each, str)]:
            raise ValueError(f"must be {self.wanted}; {shown(wrong[0])} is in it")
        return tuple(value)


class Ports(Option):
    """An option with any number of UDP ports: `4789,8472` on the command line, a list of integers in a file."""

    wanted = "a list of ports, such as [4789, 8472]"
    range = f"1 to 65535 each, {PORTS_MAX} at most"

    def parse(self, text: str) -> Value:
        """Parse comma-separated ports; ValueError if one is not a port."""
        try:
            ports = tuple(int(each) for each in text.split(",") if text)
        except ValueError:
            raise ValueError(f"{text!r} is not a list of ports, such as 4789,8472") from None
        check_ports(ports)
        return ports

    def accept(self, value: Any) -> Value:
        """Return the ports of a list as a tuple; ValueError if it is not a list of ports."""
        if not isinstance(value, list):
            raise ValueError(f"must be {self.wanted}, not {shown(value)}")
        if wrong := [each for each in value if type(each) is not int]:
            raise ValueError(f"must be {self.wanted}; {shown(wrong[0])} is in it")
        check_ports(tuple(value))
        return tuple(value)


SOURCES = ("auto", "afpacket", "scapy")

CAPTURE: dict[str, Option] = {
    "interfaces": TextsOption(
        (), example="eth1", help="what to capture from, where no -i says it; auto: all that are up"
    ),
    "ring": Option(64, min=1, max=65536, help="MB of the ring of each interface"),
    "snaplen": Option(262144, min=64, max=262144, help="bytes of a packet that are taken"),
    "promiscuous": Option(True, help="take what is addressed to others too"),
    "filter": Option("", help="packets that match this only, as for tcpdump; of files too"),
    "user": Option("", help="whom root becomes to decode; none: sensor if there is one, else nobody"),
    "source": ChoiceOption(SOURCES, help="Scapy captures slowly, also where there is no AF_PACKET"),
}
"""The options of capture: `--ring 64` on the command line, `[capture] ring = 64` in a file."""

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

DECODE: dict[str, Option] = {
    f"{tunnel}_ports": Ports(
        getattr(DecodeOptions(), f"{tunnel}_ports"), help=f"UDP ports of {name}, {PORTS_MAX} at most"
    )
    for tunnel, name in _TUNNELS.items()
}
"""The options of decoding: `--set decode.vxlan_ports=4789,8472`."""


def _wait(ns: int, help: str) -> Option:
    return Option(f"{ns // SECOND}s", help=help)


FLOWS: dict[str, Option] = {
    "capacity": Option(_FLOWS.capacity, min=1, max=1 << 30, help="flows held at once"),
    "contacts": Option(_FLOWS.contacts, min=1, max=1 << 30, help="who has tried which service: remembered for a day"),
    "tcp_attempt": _wait(_FLOWS.tcp_attempt, "wait for the answer to a SYN"),
    "tcp_half_open": _wait(_FLOWS.tcp_half_open, "wait for the originator to go on after a SYN-ACK"),
    "tcp_inactivity": _wait(_FLOWS.tcp_inactivity, "silence that ends a TCP connection"),
    "udp_inactivity": _wait(_FLOWS.udp_inactivity, "silence that ends a UDP or SCTP flow"),
    "icmp_inactivity": _wait(_FLOWS.icmp_inactivity, "silence that ends an ICMP flow"),
    "tcp_close": _wait(_FLOWS.tcp_close, "how long a closed connection is remembered"),
    "tcp_reset": _wait(_FLOWS.tcp_reset, "how long a reset connection is remembered"),
    "key": ChoiceOption(KEYS, help="five_tuple, or network: that with the outermost VLAN and tunnel id"),
}
"""The options of the flow table: `--set flows.tcp_attempt=10s`."""


def _count(default: int, most: int, help: str) -> Option:
    return Option(default, min=1, max=most, help=help)


CLUSTER: dict[str, Option] = {
    "deadline": Option("30s", min=SECOND, max=3600 * SECOND, help="how long an epoch waits for a worker that is gone"),
    "retry": Option("2s", min=SECOND // 10, max=600 * SECOND, help="wait for an acknowledgement or an answer"),
    "query": Option("3s", min=SECOND // 10, max=600 * SECOND, help="how long a query waits for answers of workers"),
    "send_in_groups_of": _count(_CLUSTER.cluster_send_in_groups_of, 1 << 20, "keys of an epoch in one message"),
    "window_messages": _count(_CLUSTER.window_messages, 1 << 16, "messages of a worker that are on their way at once"),
    "most_wanted": _count(_CLUSTER.most_wanted, 1 << 24, "keys that wait to be asked of all workers"),
    "most_watched": _count(_CLUSTER.most_watched, 1 << 24, "keys whose growth a worker watches closely"),
    "most_queries": _count(_CLUSTER.most_queries, 1 << 10, "queries that wait for answers at once"),
    "most_queries_of_observer": _count(_CLUSTER.most_queries_of_observer, 1 << 10, "those of one observer"),
}
"""The options of managers and workers: `--set cluster.deadline=1m`. Some hold for the one, some for the other."""

SETTABLE: dict[str, dict[str, Option]] = {"flows": FLOWS, "decode": DECODE, "cluster": CLUSTER}
"""The tables that `--set` accepts besides those of detections."""

TABLES: dict[str, dict[str, Option]] = {"capture": CAPTURE, "decode": DECODE, "flows": FLOWS, "cluster": CLUSTER}
"""The tables of a settings file besides those of detections, in the order in which packets pass through them."""

RESERVED = ("site", "allow", "outputs", "store", "evidence", "metrics")
"""Names of tables reserved for later versions of the settings file."""


def flow_options(values: Mapping[str, Value]) -> FlowOptions:
    """Return the flow table's options, given the values that differ from the defaults."""
    return FlowOptions(**{name: _ns(FLOWS[name], value) for name, value in values.items()})


def decode_options(values: Mapping[str, Value]) -> DecodeOptions:
    """Return the decoder's options; ValueError if tunnels share a port."""
    return DecodeOptions(**{name: tuple(value) for name, value in values.items() if isinstance(value, tuple)})


def cluster_settings(values: Mapping[str, Value]) -> ClusterSettings:
    """Return the settings of managers and workers."""
    given: dict[str, Any] = {}
    for name, value in values.items():
        if CLUSTER[name].is_duration:
            given[f"{name}_s"] = parse_duration(str(value)) / SECOND
        else:
            given[_ORIGINAL.get(name, name)] = value
    return ClusterSettings(**given)


_ORIGINAL = {"send_in_groups_of": "cluster_send_in_groups_of"}


def _ns(option: Option, value: Value) -> Any:
    return parse_duration(str(value)) if option.is_duration else value


def written(value: Any) -> str:
    """Format a value as TOML."""
    return json.dumps(list(value) if isinstance(value, tuple) else value, ensure_ascii=False)
