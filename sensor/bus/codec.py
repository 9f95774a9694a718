"""Frames: messages as bytes on a stream, and back again however the stream is cut; whatever is out of bounds is named.

A frame is the length of what follows (4 bytes, big-endian) and one message as MessagePack. A decoder holds no more than
the largest frame that its peer may send and what it was last given, and never makes room for what a frame only claims.
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import msgspec

from sensor.bus.message import Message
from sensor.bus.vocabulary import Vocabulary, tag_of
from sensor.pki.credentials import Role
from sensor.words import amount

_LENGTH_BYTES = 4
_LEAST, _MOST = -(2**63), 2**63 - 1

_encoder = msgspec.msgpack.Encoder()


@dataclass(frozen=True)
class Limits:
    """Limits on what a peer may send."""

    before_hello: int = 4 << 10
    """Bytes of a frame from somebody unknown: a hello takes some 500 at most."""
    worker: int = 16 << 20
    """Bytes of a frame from a worker. Groups of keys are cut at about 1 MiB, but hold at least one key, and the states
    of that one (sketches of every reducer) may be larger. The same holds for what the manager sends."""
    observer: int = 1 << 20
    """Bytes of a frame from an observer, which has nothing large to say."""
    name_bytes: int = 128
    """Longest text in bytes, but for texts that people read."""
    reason_bytes: int = 4096
    """Longest text in bytes that people read."""
    long_texts: frozenset[str] = frozenset()
    """The fields of such texts; a vocabulary names them."""
    entries: int = 4096
    """Most items of a list or a dict: more than there are detections, weirds or nodes."""
    items: int = 1 << 16
    """MessagePack items in a frame, in all: what its decoding may allocate, beside its bytes. A heartbeat with all its
    dicts at their largest has half as many."""

    def frame_bytes(self, role: Role | None) -> int:
        """The largest frame of a peer in that role; None: of one that has not said hello."""
        return {None: self.before_hello, "observer": self.observer}.get(role, self.worker)


class FrameError(Exception):
    """A peer broke a rule of the bus: `name` is what is counted, the text is for people.

    `fatal`: it will not help to come back.
    """

    def __init__(self, name: str, text: str, *, fatal: bool = False) -> None:
        super().__init__(text)
        self.name, self.text, self.fatal = name, text, fatal


def encode(message: Message) -> bytes:
    """A message as a frame; FrameError (oversize) if no peer would take it."""
    body = _encoder.encode(message)
    if len(body) > Limits.worker:
        text = f"a {tag_of(message)} of {len(body)} bytes is more than the {Limits.worker} that a frame may have"
        raise FrameError("oversize", f"{text}: send fewer keys at once (cluster_send_in_groups_of)")
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class FrameDecoder:
    """Messages from the bytes of one peer, as they come. `role` is the peer's; None: it has to say hello first."""

    def __init__(self, vocabulary: Vocabulary, limits: Limits | None = None, role: Role | None = None) -> None:
        self._vocabulary, self._role = vocabulary, role
        self._limits = replace(limits or Limits(), long_texts=vocabulary.for_people)
        self._buffer, self._at = bytearray(), 0
        self._error: FrameError | None = None
        self.frame_bytes = 0
        """Bytes of the last message."""

    def greet(self, role: Role) -> None:
        """The peer has said hello, and was believed: from now on it may send what its role may."""
        self._role = role

    def feed(self, data: bytes) -> Iterator[Message]:
        """The messages that are whole now, each decoded when it is asked for; to be exhausted before the next call.

        Raises FrameError after the last good message, and again on every later call.
        """
        if self._error is None:
            self._buffer += data
        try:
            while (message := self._next()) is not None:
                yield message
        except FrameError as error:
            self._error = error
            self._buffer.clear()
            raise
        del self._buffer[: self._at]
        self._at = 0

    def end(self) -> None:
        """The stream has ended; FrameError (truncated) if within a frame."""
        if self._buffer and self._error is None:
            raise FrameError("truncated", f"the stream ended {amount(len(self._buffer), 'byte')} into a frame")

    def _next(self) -> Message | None:
        if self._error is not None:
            raise self._error
        start = self._at + _LENGTH_BYTES
        if len(self._buffer) < start:
            return None
        length = int.from_bytes(self._buffer[self._at : start], "big")
        most = self._limits.frame_bytes(self._role)
        if length > most:
            raise FrameError("oversize", f"a frame of {length} bytes; {most} are the most that {self._who} may send")
        if len(self._buffer) < start + length:
            return None
        self._at, self.frame_bytes = start + length, _LENGTH_BYTES + length
        with memoryview(self._buffer) as view, view[start : self._at] as frame:
            return self._decode(frame)

    @property
    def _who(self) -> str:
        return "a peer that has not said hello" if self._role is None else f"a {self._role}"

    def _decode(self, frame: memoryview) -> Message:
        if len(frame) > self._limits.items:
            _count_items(frame, self._limits.items)
        try:
            decoder = self._vocabulary.greetings if self._role is None else self._vocabulary.messages
            message: Message = decoder.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise self._explain(frame, str(error)) from None
        except RecursionError:
            raise FrameError("too_deep", "a message is nested too deeply") from None
        _check(message, self._limits)
        return message

    def _explain(self, frame: memoryview, why: str) -> FrameError:
        try:
            tag = msgspec.msgpack.decode(frame, type=_Tagged).type
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return FrameError("malformed", f"not a message: {why}")
        if tag not in self._vocabulary.tags:
            return FrameError(
                "unknown_message", f"{tag[:64]!r} is no message of this version of the sensor", fatal=True
            )
        if self._role is None and tag != tag_of(self._vocabulary.hello):
            return FrameError("early", f"{tag} came before hello")
        return FrameError("malformed", f"{tag}: {why}")


class _Tagged(msgspec.Struct):
    type: str


def _count_items(frame: memoryview, most: int) -> None:
    """Refuse a large frame of too many items before any is made; what is malformed is left to the decoder to name."""
    at, left, items = 0, 1, 0
    while left > 0 and at < len(frame):
        items += 1
        if items > most:
            raise FrameError("too_many", f"a message has more than {most} items")
        shape = _SHAPES[frame[at]]
        if shape is None:
            raise FrameError("malformed", "no message has extension types")
        size = int.from_bytes(frame[at + 1 : at + 1 + shape.length], "big")
        left += shape.inside + shape.entry * size - 1
        at += 1 + shape.length + shape.follow + shape.unit * size


@dataclass(frozen=True)
class _Shape:
    """The kind of a MessagePack item, from its first byte."""

    follow: int = 0
    """Bytes of it that follow."""
    inside: int = 0
    """Items that are in it."""
    length: int = 0
    """Bytes of its length field."""
    unit: int = 0
    """Bytes that follow for each that the length tells of."""
    entry: int = 0
    """Items for each that the length tells of."""


def _shapes() -> list[_Shape | None]:
    """By first byte, 0x00 to 0xff, in the order of the MessagePack specification; None: extensions."""
    tiny = _Shape()
    fixed = [tiny] * 128 + [_Shape(inside=2 * n) for n in range(16)] + [_Shape(inside=n) for n in range(16)]
    texts = [_Shape(follow=n) for n in range(32)]
    lengths = [_Shape(length=n, unit=1) for n in (1, 2, 4)]
    numbers = [_Shape(follow=n) for n in (4, 8, 1, 2, 4, 8, 1, 2, 4, 8)]
    containers = [_Shape(length=n, entry=items) for items in (1, 2) for n in (2, 4)]
    extensions = [None] * 3, [None] * 5
    nil = [tiny] * 4
    return [
        *(*fixed, *texts, *nil, *lengths, *extensions[0], *numbers),
        *(*extensions[1], *lengths, *containers, *[tiny] * 32),
    ]


_SHAPES = _shapes()


def _check(value: Any, limits: Limits) -> None:
    """Refuse what the types of a message allow, but no peer of ours would send."""
    check = _CHECKS.get(type(value))
    if check is not None:
        check(value, limits)
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if name in limits.long_texts:
                _check(getattr(value, name), replace(limits, name_bytes=limits.reason_bytes))
            else:
                _check(getattr(value, name), limits)


def _check_integer(value: int, _: Limits) -> None:
    if not _LEAST <= value <= _MOST:
        raise FrameError("integer", f"{value} is beyond 64 bits")


def _check_float(value: float, _: Limits) -> None:
    if not math.isfinite(value):
        raise FrameError("not_finite", f"{value} is no number to send")


def _check_text(value: str, limits: Limits) -> None:
    most = limits.name_bytes
    if len(value) > most or (not value.isascii() and len(value.encode()) > most):
        raise FrameError("long_text", f"a text of {len(value)} letters; {most} bytes are the most")


def _check_list(values: list[Any], limits: Limits) -> None:
    _check_entries(len(values), limits)
    for value in values:
        if type(value) is not int:  # words of keys: any 64 bits
            _check(value, limits)


def _check_dict(values: dict[str, Any], limits: Limits) -> None:
    """All values of a dict are of one type."""
    _check_entries(len(values), limits)
    if not all(map(str.isascii, values)) or max(map(len, values), default=0) > limits.name_bytes:
        for name in values:
            _check_text(name, limits)
    kind = type(next(iter(values.values()), None))
    if kind is int:
        _check_integer(min(values.values()), limits)
        _check_integer(max(values.values()), limits)
    elif kind is not bytes:
        for value in values.values():
            _check(value, limits)


def _check_entries(n: int, limits: Limits) -> None:
    if n > limits.entries:
        raise FrameError("too_many", f"{n} entries; {limits.entries} are the most")


_CHECKS: dict[type, Callable[[Any, Limits], None]] = {
    int: _check_integer,
    float: _check_float,
    str: _check_text,
    list: _check_list,
    dict: _check_dict,
}
