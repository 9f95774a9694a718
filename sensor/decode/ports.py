"""Ports: the UDP ports of tunnels, and the table of them that the kernels read."""

from dataclasses import dataclass, fields

import numpy as np

from sensor._jit import njit
from sensor.decode.layers import DONE, GENEVE, GRE_IN_UDP, GTPU, HP_ERM, L2TP, LISP, MPLS_IN_IP, TEREDO, TZSP, VXLAN

PORTS_MAX = 16
"""The most ports of one kind of tunnel."""

_FROM_TOO = 128  # in the table: the tunnel's answers come from that port


@dataclass(frozen=True)
class DecodeOptions:
    """The UDP ports of each kind of tunnel, any number; ValueError if they are invalid."""

    vxlan_ports: tuple[int, ...] = (4789, 8472)
    """IANA's port, and Linux's older default."""
    vxlan_gpe_ports: tuple[int, ...] = (4790,)
    geneve_ports: tuple[int, ...] = (6081,)
    gre_ports: tuple[int, ...] = (4754,)
    mpls_ports: tuple[int, ...] = (6635,)
    lisp_ports: tuple[int, ...] = (4341,)
    l2tp_ports: tuple[int, ...] = (1701,)
    gtpu_ports: tuple[int, ...] = (2152,)
    teredo_ports: tuple[int, ...] = (3544,)
    tzsp_ports: tuple[int, ...] = (37008,)
    hp_erm_ports: tuple[int, ...] = (7932,)

    def __post_init__(self) -> None:
        owner: dict[int, str] = {}
        for field in fields(self):
            ports = getattr(self, field.name)
            check_ports(ports)
            for port in ports:
                if owner.setdefault(port, field.name) != field.name:
                    raise ValueError(f"port {port} is in both {owner[port]} and {field.name}")


_LAYERS = {
    "vxlan_ports": VXLAN,
    "vxlan_gpe_ports": VXLAN,  # distinguished by a bit
    "geneve_ports": GENEVE,
    "gre_ports": GRE_IN_UDP,
    "mpls_ports": MPLS_IN_IP,
    "lisp_ports": LISP,
    "l2tp_ports": L2TP | _FROM_TOO,
    "gtpu_ports": GTPU | _FROM_TOO,
    "teredo_ports": TEREDO | _FROM_TOO,
    "tzsp_ports": TZSP,
    "hp_erm_ports": HP_ERM,
}
"""The layer of each option. Tunnels without `_FROM_TOO` have no answers: their source port is a hash."""


def check_ports(ports: tuple[int, ...]) -> None:
    """Raise ValueError if these cannot be the ports of a tunnel."""
    if len(ports) > PORTS_MAX:
        raise ValueError(f"{len(ports)} ports are too many: at most {PORTS_MAX}")
    if wrong := [port for port in ports if not 1 <= port <= 65535]:
        raise ValueError(f"{wrong[0]} is no port")


def table_of(options: DecodeOptions) -> np.ndarray:
    """Return a uint8 table by port: the tunnel's layer, and `_FROM_TOO` if its answers come from that port."""
    table = np.full(1 << 16, DONE, np.uint8)
    for name, layer in _LAYERS.items():
        table[list(getattr(options, name))] = layer
    return table


@njit
def by_ports(table, src_port, dst_port):
    """Return the tunnel that a UDP datagram may be, by its ports; DONE if none. table: uint8, by port."""
    layer = np.int64(table[dst_port])
    if layer == DONE:
        layer = np.int64(table[src_port])
        if layer < _FROM_TOO:
            return DONE
    return layer & ~_FROM_TOO
