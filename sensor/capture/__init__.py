"""Where packets come from: capture files and interfaces, as blocks of frames that are never copied.

Files, pipes or interface names come in. A `Capture` gives blocks of frames, in order of time, and says what was lost.

| file | what it is |
| --- | --- |
| `capture.py`, `errors.py` | what every source looks like, and what can be wrong with one |
| `files/` | capture files, pipes, and standard input |
| `live/` | interfaces, their rings and their counters |
| `bpf/` | filters in tcpdump's language |
| `prefetch.py` | asks for what a kernel will read |
"""

from sensor.capture.capture import Capture
from sensor.capture.errors import CaptureError, Damage
from sensor.capture.files.savefile import Savefiles, open_savefiles

__all__ = ["Capture", "CaptureError", "Damage", "Savefiles", "open_savefiles"]
