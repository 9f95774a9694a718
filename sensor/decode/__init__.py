"""Decoding: one pass over the layers of each frame, as kernels, and reassembly of fragments beside it.

Blocks of frames come in; columns of packets go out, with what was refused and what was odd, by name.

| file | what it is |
| --- | --- |
| `decoder.py`, `walk.py`, `layers.py` | the decoder, its pass over a frame, and what layers share |
| `linktype.py`, `pseudo.py`, `serial.py`, `wireless.py` | how frames of each link type begin |
| `link.py`, `tag.py`, `ethertype.py` | Ethernet, tags and labels |
| `network.py`, `transport.py`, `arp.py` | IP and what it carries |
| `tunnel.py`, `gre.py`, `overlay.py`, `mirror.py`, `gtp.py`, `l2tp.py`, `ports.py` | tunnels, and their UDP ports |
| `fragments.py`, `fragment_table.py` | datagrams put together from their fragments |
| `payload.py` | where the bytes lie that packets carry |
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
