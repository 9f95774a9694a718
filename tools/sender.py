"""Sends frames at a rate that is kept to, or as fast as this machine can, on a packet socket.

sendmmsg over a plain packet socket was the fastest of what was tried on a veth with tcpdump at its other end: 0.59
million packets a second, 0.55 with a PACKET_TX_RING, 0.36 to 0.51 with PACKET_QDISC_BYPASS (a veth has no queue to
bypass), 0.35 by tcpreplay --topspeed --preload-pcap.
"""

import ctypes
import os
import socket
import time
from dataclasses import dataclass

import numpy as np

from sensor.capture import open_savefiles

IOVEC = np.dtype([("base", "u8"), ("length", "u8")])
MESSAGE = np.dtype(
    [
        ("name", "u8"),
        ("name_length", "u8"),
        ("iovec", "u8"),
        ("iovecs", "u8"),
        ("control", "u8"),
        ("control_length", "u8"),
        ("flags", "u8"),
        ("sent", "u8"),
    ]
)
"""struct mmsghdr of a 64-bit machine."""
AT_ONCE = 512
NAP_S = 0.0002
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Sent:
    """What was sent, and how long it took."""

    packets: int
    seconds: float

    @property
    def rate(self) -> float:
        """Packets a second."""
        return self.packets / self.seconds


class Traffic:
    """The frames of a capture file, sent from the first on and over again."""

    def __init__(self, file: str) -> None:
        self._parts, iovecs = [], []
        with open_savefiles([file]) as source:
            for block in source.blocks():
                frames, begin = block.frames, int(block.frames["offset"].min())
                part = block.buffers[0][begin : int((frames["offset"] + frames["caplen"]).max())].copy()
                self._parts.append(part)
                iovecs.append(np.zeros(len(frames), IOVEC))
                iovecs[-1]["base"] = frames["offset"] - begin + part.ctypes.data
                iovecs[-1]["length"] = frames["caplen"]
        self._iovecs = np.concatenate(iovecs)
        self._messages = np.zeros(len(self._iovecs), MESSAGE)
        self._messages["iovec"] = self._iovecs.ctypes.data + IOVEC.itemsize * np.arange(len(self._iovecs))
        self._messages["iovecs"] = 1
        self.mean_bytes = float(self._iovecs["length"].mean())

    def send(self, on: socket.socket, seconds: float, rate: float = float("inf")) -> Sent:
        """Send for so long at so many packets a second, or at fewer where that is too fast for this machine.

        A frame is due by the clock, so what was held up is made up for; where nothing is due yet, this process naps.
        """
        start, sent = time.perf_counter(), 0
        while (elapsed := time.perf_counter() - start) < seconds:
            due = AT_ONCE if rate == float("inf") else int(elapsed * rate) - sent
            if due > 0:
                sent += self._send(on, sent % len(self._messages), min(due, AT_ONCE))
            else:
                time.sleep(NAP_S)
        return Sent(sent, elapsed)

    def _send(self, on: socket.socket, at: int, count: int) -> int:
        count = min(count, len(self._messages) - at)
        where = ctypes.c_void_p(self._messages.ctypes.data + MESSAGE.itemsize * at)
        sent: int = _libc.sendmmsg(on.fileno(), where, count, 0)
        if sent < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return sent
