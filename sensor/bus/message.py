"""The base of all messages, and the two that the bus itself sends."""

import re

import msgspec


def _tag(name: str) -> str:
    return re.sub("([A-Z])", r"_\1", name).lower().removeprefix("_")


class Message(msgspec.Struct, frozen=True, tag=_tag):
    """A message; its tag is its name in snake case, as the original's events are called."""


class Refused(Message, frozen=True):
    """Why the connection is about to be closed."""

    reason: str
    fatal: bool = False
    """Coming back will not help: settings differ, the name is revoked, a later incarnation is there."""
    retry_s: float | None = None
    """For how long coming back may help; None: for ever."""


class Ping(Message, frozen=True):
    """The sender is there."""
