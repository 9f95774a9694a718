"""Decoding: one pass over the layers of each frame, as kernels, and reassembly of fragments beside it."""

from sensor.decode.decoder import Decoder

__all__ = ["Decoder"]
