"""Where packets come from: capture files and interfaces, as blocks of frames that are never copied.

Files, pipes or interface names come in. A `Capture` gives blocks of frames, in order of time, and says what was lost.

| file | what it is |
| --- | --- |
| `capture.py`, `errors.py` | what every source looks like, and what can be wrong with one |
| `savefile.py`, `merge.py`, `source.py` | one or many files as one source, merged by time |
| `stream.py`, `pipe.py`, `compressed.py`, `prefetch.py`, `byte_order.py` | the bytes of a file |
| `reader.py`, `pcap.py`, `pcapng.py`, `pcapng_interface.py` | the two formats |
| `live.py`, `interface_capture.py`, `ring.py`, `mapping.py`, `af_packet.py` | interfaces and their rings |
| `ring_opener.py`, `fanout.py`, `host_pair_hash.py` | rings without privileges, and shared by several processes |
| `interfaces.py`, `ifreq.py`, `link_watch.py`, `nic.py`, `rates.py`, `outages.py` | interfaces and their counters |
| `scapy_source.py` | Scapy's sockets, where there is no AF_PACKET |
| `filter.py`, `filtered.py`, `bpf.py`, `bpf_run.py`, `libpcap.py`, `missed.py` | filters in tcpdump's language |
"""

from sensor.capture.capture import Capture
from sensor.capture.errors import CaptureError, Damage
from sensor.capture.savefile import Savefiles, open_savefiles

__all__ = ["Capture", "CaptureError", "Damage", "Savefiles", "open_savefiles"]
