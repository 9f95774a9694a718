"""Packet sources: capture files and interfaces, as blocks of frames that are never copied.

Input is files, pipes or interface names. A `Capture` gives blocks of frames in order of time, and counts losses.

| file | what it is |
| --- | --- |
| `capture.py`, `errors.py` | the interface of every source, and the errors of one |
| `files/` | capture files, pipes, and standard input |
| `live/` | interfaces, their rings and their counters |
| `bpf/` | filters in tcpdump's language |
| `prefetch.py` | prefetches the bytes that a kernel will read |
"""

from sensor.capture.capture import Capture
from sensor.capture.errors import CaptureError, Damage
from sensor.capture.files.savefile import Savefiles, open_savefiles

__all__ = ["Capture", "CaptureError", "Damage", "Savefiles", "open_savefiles"]
