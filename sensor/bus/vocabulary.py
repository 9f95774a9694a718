"""A vocabulary: all that the bus has to know of the messages that it carries."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Protocol, Union

import msgspec

from sensor.bus.message import Message
from sensor.pki.credentials import Role


class Greeting(Protocol):
    """The part of a peer's first message that the bus reads."""

    @property
    def name(self) -> str:
        """The peer's name."""

    @property
    def role(self) -> Role:
        """In which role it comes."""

    @property
    def incarnation(self) -> int:
        """The incarnation of its process: a later one has a greater number."""


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """The messages there are, who may send each, and how they queue."""

    hello: type[Message]
    """The first that a peer sends: a `Greeting`."""
    welcome: type[Message]
    """The answer to a worker's."""
    may_send: Mapping[Role | None, frozenset[type[Message]]]
    """All messages, by the role of who sends them; None: a peer that has not said hello."""
    admitted: frozenset[Role]
    """The roles that may say hello."""
    speaker: Mapping[type[Message], str]
    """The field that says whom a message is from, where there is one."""
    newest: type[Message]
    """Messages of which only the latest counts: it replaces those before and goes out first."""
    telemetry: tuple[type[Message], ...] = ()
    """These go out last, and the oldest are dropped where too many wait."""
    for_people: frozenset[str] = field(default=frozenset())
    """Names of fields whose texts people read, which may be longer than other texts."""

    def allows(self, role: Role | None, message: Message) -> bool:
        """Return whether a peer in a role (None: before its hello) may send such a message."""
        return type(message) in self.may_send[role]

    def speaks_for(self, name: str, message: Message) -> bool:
        """Return whether a message is in the name of that peer, or in nobody's."""
        named = self.speaker.get(type(message))
        return named is None or getattr(message, named) == name

    @cached_property
    def greetings(self) -> msgspec.msgpack.Decoder[Any]:
        """Decodes the first message of a peer."""
        return msgspec.msgpack.Decoder(self.hello)

    @cached_property
    def messages(self) -> msgspec.msgpack.Decoder[Any]:
        """Decodes any message."""
        return msgspec.msgpack.Decoder(Union[tuple(self._all)])  # noqa: UP007

    @cached_property
    def tags(self) -> frozenset[str]:
        """By which messages are told apart on the wire."""
        return frozenset(tag_of(each) for each in self._all)

    @property
    def _all(self) -> list[type[Message]]:
        every = frozenset[type[Message]]().union(*self.may_send.values())
        return sorted(every, key=lambda each: each.__name__)


def tag_of(message: Message | type[Message]) -> str:
    """By which a message is told from others on the wire."""
    return str(message.__struct_config__.tag)
