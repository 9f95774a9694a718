"""A network sensor: detections in plain Python, at over half a million packets a second a core."""

__version__ = "0.1.0"
