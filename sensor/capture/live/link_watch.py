"""Reports network interfaces that go down, come up, are made or deleted (rtnetlink(7)), by a pollable descriptor."""

import contextlib
import errno
import socket
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

_RTMGRP_LINK = 1
_RTM_NEWLINK, _RTM_DELLINK = 16, 17
_MESSAGE_MAX = 1 << 16
_UP_AND_RUNNING = 0x1 | 0x40


@dataclass(frozen=True, slots=True)
class LinkEvent:
    """A change of an interface. An interface made again has its old name and another index."""

    change: Literal["created", "deleted", "up", "down"]
    name: str
    index: int


class LinkWatch:
    """The changes from now on, in the network namespace of the thread that makes this. Needs no privilege.

    `overruns` counts how often the kernel's buffer overflowed and lost changes; check the interfaces' state then.
    """

    def __init__(self) -> None:
        from pyroute2 import IPRoute
        from pyroute2.netlink.rtnl.marshal import MarshalRtnl

        self.overruns = 0
        self._marshal = MarshalRtnl()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        self._socket.bind((0, _RTMGRP_LINK))
        with IPRoute() as route:
            self._is_up = {link["index"]: _is_up(link) for link in route.get_links()}

    def fileno(self) -> int:
        """Return the descriptor to poll for reading."""
        return self._socket.fileno()

    def read(self) -> list[LinkEvent]:
        """Return the changes since the last call, without waiting."""
        events: list[LinkEvent] = []
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data = self._socket.recv(_MESSAGE_MAX)
                except OSError as error:
                    if error.errno != errno.ENOBUFS:
                        raise
                    self.overruns += 1
                else:
                    events += self._events(data)
        return events

    def close(self) -> None:
        """Stop watching."""
        self._socket.close()

    def _events(self, data: bytes) -> Iterator[LinkEvent]:
        for message in self._marshal.parse(data):
            if message.get("family"):  # from a bridge, about its ports
                continue
            name, index = message.get("ifname") or "", message.get("index")
            if message["header"]["type"] == _RTM_DELLINK:
                self._is_up.pop(index, None)
                yield LinkEvent("deleted", name, index)
            elif message["header"]["type"] == _RTM_NEWLINK:
                yield from self._changed(name, index, _is_up(message))

    def _changed(self, name: str, index: int, is_up: bool) -> Iterator[LinkEvent]:
        if index not in self._is_up:
            yield LinkEvent("created", name, index)
        if self._is_up.get(index, False) != is_up:
            yield LinkEvent("up" if is_up else "down", name, index)
        self._is_up[index] = is_up


def _is_up(link: Any) -> bool:
    return bool(link["flags"] & _UP_AND_RUNNING == _UP_AND_RUNNING)
