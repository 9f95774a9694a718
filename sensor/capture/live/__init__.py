"""Live capture: interfaces, by AF_PACKET rings that the kernel fills, or by Scapy's sockets.

Names of interfaces come in; blocks of frames go out, with what the kernel and the card have lost.

| file | what it is |
| --- | --- |
| `live_capture.py`, `interface_capture.py` | all interfaces as one source, and one of them |
| `ring.py`, `mapping.py`, `af_packet.py` | the ring |
| `ring_opener.py`, `fanout.py`, `host_pair_hash.py` | rings without privileges, and shared by several processes |
| `interfaces.py`, `ifreq.py`, `link_watch.py` | which interfaces there are, and how they are |
| `nic.py`, `rates.py`, `outages.py` | their counters, and when they were away |
| `scapy_source.py` | Scapy's sockets, where there is no AF_PACKET |
"""
