"""Where packets come from: capture files, as blocks of frames that are never copied."""

from sensor.capture.fault import CaptureError, Damage
from sensor.capture.savefile import Savefiles, open_savefiles

__all__ = ["CaptureError", "Damage", "Savefiles", "open_savefiles"]
