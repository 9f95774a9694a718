"""Decoding: one pass over the layers of each frame, as kernels, and reassembly of fragments beside it."""

from sensor.decode.decoder import LINKTYPES_MAX, OTHER_LINKTYPES, Decoder

__all__ = ["LINKTYPES_MAX", "OTHER_LINKTYPES", "Decoder"]
