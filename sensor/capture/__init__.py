"""Where packets come from: capture files and interfaces, as blocks of frames that are never copied."""

from sensor.capture.capture import Capture
from sensor.capture.errors import CaptureError, Damage
from sensor.capture.savefile import Savefiles, open_savefiles

__all__ = ["Capture", "CaptureError", "Damage", "Savefiles", "open_savefiles"]
