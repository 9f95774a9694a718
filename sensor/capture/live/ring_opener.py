"""The opener: a small process that keeps only CAP_NET_RAW, and opens rings for unprivileged processes.

It opens the interfaces named at its start, in their present state, as often as requested: a request gives the number of
the settings, and the answer carries the socket's descriptor (unix(7), SCM_RIGHTS). It reads no packet. It ends when its
last client is gone. `python -m sensor.capture.live.ring_opener` is the process, `Opener` its client.
"""

import base64
import errno
import os
import select
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np

from sensor.capture.bpf.program import INSTRUCTION
from sensor.capture.errors import CaptureError
from sensor.capture.live.af_packet import Opened, RingSettings, open_ring
from sensor.privileges import CAP_NET_RAW, PrivilegeError, User, give_up, has

PATIENCE_S = 10.0
"""The longest wait for an answer, in seconds."""
_ANSWER_MAX = 4096
_ADMIT = b"admit"
_REQUEST = struct.Struct("=II")
"""The number of the request, which the answer repeats, and of the settings."""


@dataclass(frozen=True, slots=True)
class OpenerConfig:
    """The rings that an opener may open, and the user that it becomes."""

    settings: list[RingSettings]
    user: User | None


class _Answer(msgspec.Struct):
    """The result of a request; without an error, a descriptor comes with it."""

    request: int
    error: str = ""
    is_absent: bool = False
    """True if there is no such interface at present."""
    linktype: int = 0
    group: int | None = None


class Opener:
    """Client of an opener process; called like `open_ring`, for an interface that the opener was started with."""

    def __init__(
        self, asking: socket.socket, interfaces: Sequence[str], process: "subprocess.Popen[bytes] | None" = None
    ) -> None:
        self._asking, self._interfaces, self._process = asking, list(interfaces), process
        self._requests = 0
        asking.settimeout(PATIENCE_S)

    @classmethod
    def start(cls, settings: Sequence[RingSettings], user: User | None) -> "Opener":
        """Start a process with this one's privileges, of which it keeps CAP_NET_RAW. `user`: it becomes this user."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, "-P", "-m", "sensor.capture.live.ring_opener", str(its.fileno())]
        with its:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                pass_fds=[its.fileno()],
                start_new_session=True,  # it ignores the terminal's signals: it ends after its clients
                env=os.environ | {"NUMBA_DISABLE_JIT": "1"},  # it runs no kernel
            )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(msgspec.json.encode(OpenerConfig(list(settings), user), enc_hook=_encode))
        return cls(ours, [each.interface for each in settings], process)

    def __call__(self, settings: RingSettings) -> Opened:
        """Return a ring on an interface; CaptureError if it cannot be opened, OSError ENODEV: no such interface."""
        self._requests += 1
        try:
            self._asking.send(_REQUEST.pack(self._requests, self._interfaces.index(settings.interface)))
            answer, descriptors = self._answer(settings.interface)
        except OSError as error:
            reason = f"{settings.interface}: the process that opens interfaces does not answer: {error}"
            raise CaptureError(reason) from error
        if answer.is_absent:
            raise OSError(errno.ENODEV, answer.error)
        if answer.error:
            raise CaptureError(answer.error)
        return Opened(socket.socket(fileno=descriptors[0]), settings, answer.linktype, answer.group)

    def _answer(self, name: str) -> tuple[_Answer, list[int]]:
        """Return the answer to the last request; late answers to earlier ones are ignored."""
        while True:
            data, descriptors, _, _ = socket.recv_fds(self._asking, _ANSWER_MAX, 1)
            if not data:
                raise CaptureError(f"{name}: the process that opens interfaces is gone; restart the sensor")
            answer = msgspec.json.decode(data, type=_Answer)
            if answer.request == self._requests:
                return answer, descriptors
            for each in descriptors:
                os.close(each)

    def admit(self) -> socket.socket:
        """Return a socket for another process that may ask too: the argument for its `Opener`."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with its:
            socket.send_fds(self._asking, [_ADMIT], [its.fileno()])
        return ours

    def close(self) -> None:
        """Close this client: the process ends when it was the last."""
        self._asking.close()
        if self._process is not None:
            self._process.wait(PATIENCE_S)


def serve(settings: list[RingSettings], control: socket.socket) -> None:
    """Open rings for the client at `control` and for clients admitted there, until all have gone."""
    asking = {control.fileno(): control}
    while asking:
        readable, _, _ = select.select(list(asking), [], [])
        for descriptor in readable:
            who = asking[descriptor]
            data, descriptors = _receive(who)
            if data == _ADMIT and descriptors and who is control:
                another = socket.socket(fileno=descriptors.pop())
                asking[another.fileno()] = another
            elif len(data) == _REQUEST.size and (asked := _REQUEST.unpack(data))[1] < len(settings):
                request, number = asked
                settings[number] = _open(settings[number], request, who)
            else:  # gone, or a request that is not allowed
                asking.pop(descriptor).close()
            for each in descriptors:  # unexpected descriptors
                os.close(each)


def _receive(who: socket.socket) -> tuple[bytes, list[int]]:
    try:
        data, descriptors, _, _ = socket.recv_fds(who, _REQUEST.size + 1, 1)  # one byte more, to detect longer messages
    except ConnectionError:
        return b"", []
    return data, descriptors


def _open(settings: RingSettings, request: int, asked_by: socket.socket) -> RingSettings:
    """Open a ring and hand it over; return the settings for the next, which must find its group's other members."""
    try:
        opened = open_ring(settings)
    except (CaptureError, OSError) as error:
        is_absent = isinstance(error, OSError) and error.errno == errno.ENODEV
        text = (error.strerror if isinstance(error, OSError) else None) or str(error)
        _send(asked_by, _Answer(request, text, is_absent), [])
        return settings
    with opened.socket:
        _send(asked_by, _Answer(request, linktype=opened.linktype, group=opened.group), [opened.socket.fileno()])
    if settings.fanout is None:
        return settings
    return replace(settings, fanout=replace(settings.fanout, group=opened.group))


def _send(to: socket.socket, answer: _Answer, descriptors: list[int]) -> None:
    try:
        socket.send_fds(to, [msgspec.json.encode(answer)], descriptors, socket.MSG_DONTWAIT)
    except (ConnectionError, BlockingIOError):  # the client is gone, or does not read its answers
        return


def _encode(value: Any) -> Any:
    return base64.b64encode(value.tobytes()).decode()


def _decode(kind: type, value: Any) -> Any:
    return np.frombuffer(base64.b64decode(value), INSTRUCTION).copy()


def main() -> None:
    """Run the process: its configuration comes on standard input, the socket's number is the argument."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    order = msgspec.json.decode(sys.stdin.buffer.read(), type=OpenerConfig, dec_hook=_decode)
    try:
        give_up(order.user, keep=[CAP_NET_RAW] if has(CAP_NET_RAW) else [])
    except PrivilegeError as error:
        sys.exit(f"sensor: opener: {error}")
    serve(order.settings, socket.socket(fileno=int(sys.argv[1])))


if __name__ == "__main__":
    main()
