"""Decoding: one pass over the layers of each frame, as kernels, and reassembly of fragments beside it.

Input is blocks of frames; output is columns of packets, and counts of refusals and oddities by name.

| file | what it is |
| --- | --- |
| `decoder.py`, `walk.py`, `layers.py` | the decoder, its pass over a frame, and the parts shared by layers |
| `linktype.py`, `pseudo.py`, `serial.py`, `wireless.py` | the first layer of each link type |
| `link.py`, `tag.py`, `ethertype.py` | Ethernet, tags and labels |
| `network.py`, `transport.py`, `arp.py` | IP and its payloads |
| `tunnel.py`, `gre.py`, `overlay.py`, `mirror.py`, `gtp.py`, `l2tp.py`, `ports.py` | tunnels, and their UDP ports |
| `fragments.py`, `fragment_table.py` | datagrams reassembled from their fragments |
| `payload.py` | the positions of packets' payload bytes |
"""

from sensor.decode.decoder import LINKTYPES_MAX, OTHER_LINKTYPES, Decoder
from sensor.decode.payload import NO_PAYLOADS, Payloads
from sensor.decode.ports import PORTS_MAX, DecodeOptions, check_ports

__all__ = [
    "LINKTYPES_MAX",
    "NO_PAYLOADS",
    "OTHER_LINKTYPES",
    "PORTS_MAX",
    "DecodeOptions",
    "Decoder",
    "Payloads",
    "check_ports",
]
