"""A network sensor: detections in plain Python, at millions of packets a second, over one worker or fifty."""

__version__ = "0.1.0"
