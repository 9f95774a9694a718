"""The listener: takes connections at an address and hands them on."""

import asyncio
import logging
import socket
from collections import Counter
from collections.abc import Callable

from sensor.bus.endpoint import Endpoint, listen

log = logging.getLogger(__name__)


class Listener:
    """Hands each connection to `taken`, with the address it is from ("unix" for a Unix socket).

    A connection is taken in one step of the loop: a task that is cancelled within it would leave it open. Where none
    can be taken, as no file descriptors are left, that is counted (`accept_failed`) and tried again after `pause_s`.
    """

    def __init__(
        self, endpoint: Endpoint, taken: Callable[[socket.socket, str], None], counters: Counter[str], pause_s: float
    ) -> None:
        self._endpoint, self._taken, self._counters, self._pause_s = endpoint, taken, counters, pause_s
        self._socket: socket.socket | None = None

    @property
    def address(self) -> str:
        """The addresses it listens at, with the real port."""
        if self._socket is None or self._endpoint.path:
            return str(self._endpoint)
        host, port = self._socket.getsockname()[:2]
        return str(Endpoint(host, port))

    async def start(self) -> None:
        """Begin to listen; BusError says what is in the way."""
        self._socket = await listen(self._endpoint)
        self._resume()

    def close(self) -> None:
        """Listen no more."""
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket)
            self._socket.close()
            self._socket = None

    def _resume(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().add_reader(self._socket, self._take)

    def _take(self) -> None:
        assert self._socket is not None
        try:
            connection, address = self._socket.accept()
        except (BlockingIOError, ConnectionAbortedError):  # it has gone away already
            return
        except OSError as error:  # those that are connected go on
            self._counters["accept_failed"] += 1
            log.warning("a connection could not be accepted: %s", error)
            loop = asyncio.get_running_loop()
            loop.remove_reader(self._socket)
            loop.call_later(self._pause_s, self._resume)
            return
        connection.setblocking(False)
        self._taken(connection, "unix" if self._endpoint.path else str(address[0]))
