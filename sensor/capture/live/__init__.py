"""Live capture: interfaces, by AF_PACKET rings that the kernel fills, or by Scapy's sockets.

Input is names of interfaces; output is blocks of frames, and counts of losses in kernel and card.

| file | what it is |
| --- | --- |
| `live_capture.py`, `interface_capture.py` | all interfaces as one source, and one of them |
| `ring.py`, `mapping.py`, `af_packet.py` | the ring |
| `ring_opener.py`, `fanout.py`, `host_pair_hash.py` | rings without privileges, and shared by several processes |
| `interfaces.py`, `ifreq.py`, `link_watch.py` | the interfaces of this machine and their state |
| `nic.py`, `rates.py`, `outages.py` | counters, rates and outages of interfaces |
| `scapy_source.py` | Scapy's sockets, where there is no AF_PACKET |
"""
