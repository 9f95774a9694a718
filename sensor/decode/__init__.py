"""Decoding: one pass over the layers of each frame, as kernels, and reassembly of fragments beside it."""

from sensor.decode.decoder import LINKTYPES_MAX, OTHER_LINKTYPES, Decoder
from sensor.decode.ports import PORTS_MAX, DecodeOptions, check_ports

__all__ = ["LINKTYPES_MAX", "OTHER_LINKTYPES", "PORTS_MAX", "DecodeOptions", "Decoder", "check_ports"]
