"""Capture by Scapy's own sockets, for systems without AF_PACKET: slow, but it reads whatever Scapy can sniff.

A thread takes frames off the sockets, undissected, into a bounded queue; `Sniffed` gives them as blocks. Scapy is GPL:
only this module of the sensor imports it, and only when a source is opened.
"""

import contextlib
import errno
import importlib
import logging
import socket
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from sensor.capture.bpf import libpcap
from sensor.capture.bpf.filter import Filter
from sensor.capture.bpf.filtered import Filtered
from sensor.capture.capture import Capture
from sensor.capture.errors import CaptureError, Damage
from sensor.clock import SECOND, now_ns
from sensor.packet import CAPLEN_MAX, FRAME, FULL_BLOCK, NO_BYTES, Block

log = logging.getLogger(__name__)

QUEUE_BYTES = 64 << 20
"""The most captured bytes that wait, each frame counted as `_FRAME_BYTES` more."""

_FRAME_BYTES = 256  # Python's overhead for a frame besides its bytes
_POLL_S = 0.05
_HELD_NS = SECOND // 5  # where Scapy opens libpcap, it holds frames back for up to 100 ms
_READ_BYTES = 1 << 17  # more than the largest merged frame
_SOCKET_BYTES = 16 << 20  # requested from the kernel, which may give less; Scapy's own 64 KiB are full at once
_SOL_PACKET, _PACKET_IGNORE_OUTGOING = 263, 23
_LINKTYPES = {12: 101, 14: 101}
"""The LINKTYPE_ of a DLT_, where the two differ: raw IP."""


@dataclass(frozen=True, slots=True)
class OpenedSocket:
    """One of Scapy's listening sockets."""

    interface: str
    socket: Any
    linktype: int
    """LINKTYPE_ of its frames."""


class Sniffed:
    """The frames of several Scapy sockets, which `close` closes. It has the interface of `Live`.

    An interface that fails or is deleted is reported as damage, and not opened again; one that is down is not reported.
    Lengths on the wire are unknown: `wirelen` is the length that Scapy gave. Times are as exact as a float of seconds,
    0.24 us.
    """

    def __init__(
        self,
        sockets: Sequence[OpenedSocket],
        *,
        snaplen: int = CAPLEN_MAX,
        wait_s: float = 1.0,
        queue_bytes: int = QUEUE_BYTES,
    ) -> None:
        """snaplen: bytes kept of a frame. queue_bytes: when more wait than that, new frames are dropped and counted."""
        self.damage: list[Damage] = []
        self.seen_until = 0
        """Time in ns since the epoch before which no further frame will come. An empty block moves it on."""
        self._sockets, self._snaplen, self._wait_s, self._room = list(sockets), snaplen, wait_s, queue_bytes
        self._waiting: deque[tuple[int, bytes, int, int]] = deque()
        self._changed = threading.Condition()
        self._stopped_at: int | None = None
        self._has_ended = False
        self._quiet_until = 0
        self._delivered = self._dropped = self._read = self._bytes = 0
        self._thread = threading.Thread(target=self._sniff, name="sniff", daemon=True)

    def blocks(self, size: int = FULL_BLOCK) -> Iterator[Block]:
        """Yield frames as they come, at most `size` a block, until `stop`; after `wait_s` without any, an empty block.

        A block's frames are in order of time. After `stop` the frames received by then follow. May be called once: it
        starts the thread, which lacks any privilege that this process has dropped before.
        """
        self._thread.start()
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._has_ended, self._wait_s)
                taken = [self._waiting.popleft() for _ in range(min(size, len(self._waiting)))]
                self._room += sum(len(data) + _FRAME_BYTES for _, data, *_ in taken)
                if not taken and self._has_ended:
                    return
                self.seen_until = self.seen_until if taken else max(self.seen_until, self._quiet_until)
            yield self._block(taken)

    def stop(self) -> None:
        """Take no new frames; a signal handler or another thread may call this."""
        self._stopped_at = now_ns()

    @property
    def counters(self) -> dict[str, int]:
        """Counts of packets and losses so far, by name; the kernel's earlier losses are unknown.

        When `blocks` has ended, packets_delivered = packets_read + queue_drops.
        """
        return {
            "packets_read": self._read,
            "packets_delivered": self._delivered,
            "queue_drops": self._dropped,
            "bytes_read": self._bytes,
        }

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes done; the total is unknown."""
        return self._bytes, None

    def close(self) -> None:
        """Close the interfaces."""
        self.stop()
        if self._thread.is_alive():
            self._thread.join()
        for each in self._sockets:
            each.socket.close()

    def __enter__(self) -> "Sniffed":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _block(self, taken: list[tuple[int, bytes, int, int]]) -> Block:
        if not taken:
            return Block((NO_BYTES,), np.zeros(0, FRAME))
        frames = np.zeros(len(taken), FRAME)
        lengths = [len(data) for _, data, *_ in taken]
        frames["ts"], frames["caplen"] = [ts for ts, *_ in taken], lengths
        frames["offset"] = np.cumsum([0, *lengths[:-1]])
        frames["wirelen"], frames["interface"] = [each[2] for each in taken], [each[3] for each in taken]
        frames["linktype"] = np.array([each.linktype for each in self._sockets], np.uint16)[frames["interface"]]
        self._read += len(taken)
        self._bytes += sum(lengths)
        buffer = np.frombuffer(b"".join(data for _, data, *_ in taken), np.uint8)
        return Block((buffer,), frames[np.argsort(frames["ts"], kind="stable")])

    def _sniff(self) -> None:
        """Run the thread: take frames off the sockets until `stop`, or until no socket is left."""
        numbers = {each.socket: number for number, each in enumerate(self._sockets)}
        try:
            while numbers:
                begun, is_stopping = now_ns(), self._stopped_at is not None
                ready = self._sockets[0].socket.select(list(numbers), 0 if is_stopping else _POLL_S)
                if not ready:
                    self._quiet_until = begun - _HELD_NS
                is_late = [self._take(each, numbers) for each in ready]
                if is_stopping and all(is_late):
                    return
        except Exception as error:  # Scapy's many kinds of sockets raise anything
            names = ", ".join(each.interface for each in self._sockets)
            self.damage.append(Damage(names, self._bytes, f"Scapy cannot wait for frames any more: {error}"))
        finally:
            with self._changed:
                self._has_ended = True
                self._changed.notify()

    def _take(self, ready: Any, numbers: dict[Any, int]) -> bool:
        """Queue the next frame of a socket; return True if there was none, or it came after `stop`."""
        number = numbers[ready]
        try:
            _, data, seconds = ready.recv_raw(_READ_BYTES)
        except Exception as error:  # as above
            name = self._sockets[number].interface
            if isinstance(error, OSError) and error.errno == errno.ENETDOWN and _is_bound(ready):
                return False
            del numbers[ready]
            self.damage.append(Damage(name, self._bytes, f"cannot be read from any more: {error}"))
            return True
        if not data:
            return True
        ts = now_ns() if seconds is None else int(seconds * SECOND)
        if self._stopped_at is not None and ts > self._stopped_at:
            return True
        self._queue(ts, bytes(data), number)
        return False

    def _queue(self, ts: int, data: bytes, number: int) -> None:
        kept = data[: self._snaplen]
        with self._changed:
            self._delivered += 1
            if self._room < len(kept) + _FRAME_BYTES:
                self._dropped += 1
                return
            self._room -= len(kept) + _FRAME_BYTES
            self._waiting.append((ts, kept, len(data), number))
            self._changed.notify()


@contextlib.contextmanager
def sniff(
    interfaces: Sequence[str],
    filter_text: str,
    *,
    snaplen: int = CAPLEN_MAX,
    promiscuous: bool = True,
    wait_s: float = 1.0,
) -> Iterator[tuple[Sniffed, Capture]]:
    """Yield a source for interfaces, and the source behind a filter; the CaptureError says what is wrong.

    With libpcap the filter means the same as on replay; without it, the filter is Scapy's and may differ.
    """
    is_ours = libpcap.is_there()
    chosen = Filter(filter_text) if filter_text and is_ours else None
    with contextlib.ExitStack() as stack:
        sockets = []
        for name in interfaces:
            opened = _open(name, filter_text if filter_text and not is_ours else None, promiscuous)
            stack.callback(opened.socket.close)
            sockets.append(opened)
        log.warning("Scapy captures, which is slow: expect loss above some ten thousand packets a second")
        source = stack.enter_context(Sniffed(sockets, snaplen=snaplen, wait_s=wait_s))
        yield source, Filtered(source, chosen) if chosen else source


def _open(name: str, filter_text: str | None, promiscuous: bool) -> OpenedSocket:
    conf, resolve_iface = _scapy()
    conf.ifaces.reload()  # Scapy caches the interfaces, and their numbers change
    try:
        opened = resolve_iface(name).l2listen()(iface=name, promisc=promiscuous, filter=filter_text)
    except ValueError as error:
        raise CaptureError(
            f"{name}: there is no such interface; `sensor interfaces` lists those that there are"
        ) from error
    except PermissionError as error:
        raise CaptureError(f"{name}: capture needs CAP_NET_RAW; run as root") from error
    except Exception as error:  # Scapy_Exception and the system's errors
        raise CaptureError(f"{name}: Scapy cannot open it: {error}") from error
    dlt = conf.l2types.layer2num.get(opened.LL)
    if dlt is None:
        opened.close()
        raise CaptureError(f"{name}: its link layer, {opened.LL.__name__}, is not read; name an Ethernet one")
    if name == "lo" and hasattr(socket, "AF_PACKET"):  # on loopback each packet passes twice, out and in again
        opened.ins.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    return OpenedSocket(name, opened, _LINKTYPES.get(dlt, dlt))


def _scapy() -> tuple[Any, Any]:
    """Return Scapy's settings, with its known link layers, and the function that finds an interface by name."""
    try:
        for module in ("arch", "layers.l2", "layers.inet", "layers.inet6"):  # each registers its link layers with Scapy
            importlib.import_module(f"scapy.{module}")
        from scapy.config import conf
        from scapy.interfaces import resolve_iface
    except ImportError as error:
        advice = "pip install scapy (in a checkout of the sensor: pip install '.[scapy]')"
        raise CaptureError(f"Scapy is needed to capture here ({error}): {advice}") from error
    conf.bufsize = _SOCKET_BYTES
    return conf, resolve_iface


def _is_bound(listening: Any) -> bool:
    """True if a socket still has its interface; only Linux's own sockets reveal that."""
    try:
        return bool(listening.ins.getsockname()[0])
    except (AttributeError, OSError):
        return False
