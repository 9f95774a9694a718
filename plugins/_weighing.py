"""Weighing: what failed against what was used, in one dimension of an accusation.

A success is a service that was used: data went both ways. It counts if the contact was begun before the failures had
reached the threshold; what an accused does afterwards to look busy does not. Where there were as many successes by then
as half the failures, all are compared.
"""

import math
from collections.abc import Sequence
from typing import Any, Literal

from sensor_plugins._probes import NEIGHBOURHOODS

Verdict = Literal["accused", "low", "silent"]

LOWERED = 3
"""From this many times the threshold on, a source that is outweighed by less than two to one is told of, low."""

KNOWN = 150_000_000_000
"""ns for which a set of targets must have been checked to be known for a set that mostly fails: half an epoch."""


BUSY, BUSY_UDP = 5, 3
"""A source with a success for this many failures, or fewer, is a client of many half-dead peers as likely as not."""

DENSE = 1.5
"""Ports that are scanned lie so many times closer together than ports that are drawn at random, or more."""


def weigh(seen: Any, failed: int, greeted: int = 0, used: Any = None) -> Verdict:
    """What so many `failed` targets come to beside the answers. Where only one direction is seen, those are confirmed.

    "low" where the probes are those of ordinary programs and the source is BUSY: more of its contacts fail than
    succeed, and that is all there is to say. `greeted`: targets that had something to say, and were told nothing.
    `used`: the successes, where those are not `seen.answers`.
    """
    threshold, targets = seen.threshold, targets_of(seen)
    if failed < threshold:
        return "silent"
    answers = seen.confirmed if is_blind(seen) else used or seen.answers
    crossed = targets.reached(math.ceil(threshold))
    before = answers.count if crossed is None else answers.until(crossed)
    answered = before if 2 * before < threshold else answers.count
    if failed > answered:
        busy = BUSY_UDP if seen.udp.average > 0.5 else BUSY if seen.connects.average >= 0.5 else 0
        return "low" if busy * (answers.count + greeted) >= failed else "accused"
    is_near = failed >= LOWERED * threshold and answered < 2 * failed
    return "low" if is_near else "silent"


def is_blind(seen: Any) -> bool:
    """Return whether nothing came back at all, as where only one direction is seen."""
    return not seen.answers.count and not seen.heard.count


def targets_of(seen: Any) -> Any:
    """The targets that were tried in vain: hosts, ports, or pairs of both."""
    return seen.pairs if "pairs" in seen.reducers else seen.targets


def is_check(seen: Any) -> bool:
    """Return whether a closed set of targets is tried steadily: few are new, and none in the second half."""
    if seen.checked.count == 0 or targets_of(seen).count - seen.checked.count >= seen.threshold:
        return False
    return bool(seen.newest.max <= (seen.begin + seen.end) / 2)


def is_alive(seen: Any) -> bool:
    """Return whether at least half of the checked targets answer or are used."""
    alive = seen.answers.count + seen.alive.count
    return bool(seen.checked.count - seen.alive.count <= alive)


def is_late(seen: Any) -> bool:
    """Return whether most connections began before the capture, each from its own socket: an old client."""
    return bool(2 * seen.midstream.count > seen.targets.count and seen.sockets.count >= seen.targets.count)


def is_known(seen: Any) -> bool:
    """Return whether such a set has been checked for long enough; its first round counts as a scan would."""
    return bool(seen.end - seen.newest.max >= KNOWN)


MANY = 10
"""This many times more make a scan where ports are those that systems draw for clients, in order at times."""


def is_dense(ports: int, neighbourhoods: int) -> bool:
    """Return whether more ports are adjacent, or there are more of them, than with clients."""
    at_random = NEIGHBOURHOODS * (1 - math.exp(-ports / NEIGHBOURHOODS))
    return ports > NEIGHBOURHOODS or at_random >= DENSE * neighbourhoods


def is_scan_of_clients(seen: Any) -> bool:
    """Return whether packets that may be a server's reach ports in a way that only a scan does."""
    is_registered = is_dense(seen.registered.count, seen.near.count) and seen.registered.count >= seen.threshold
    is_any = is_dense(seen.targets.count, seen.neighbourhoods.count) and seen.targets.count >= MANY * seen.threshold
    return is_registered or is_any


def kind_of(seen: Any, names: Sequence[str]) -> str:
    """An alert's kind: that of most of its probes, or else the oddest; names are those of the kinds by their number."""
    if seen.udp.average > 0.5:
        return "udp"
    if seen.syns.average >= 0.5:
        return "connect" if seen.connects.average >= 0.5 else "syn"
    return names[int(seen.oddest.max)]


def proto_of(kind: str) -> str:
    """The transport of a kind."""
    return kind if kind in ("udp", "sctp") else "tcp"
