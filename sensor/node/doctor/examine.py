"""An examination: all checks of one machine, in the order in which each depends on those before."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sensor import __version__
from sensor.capture.live.interfaces import Interface, list_interfaces
from sensor.node.doctor import clock, filters, kernels, links, manager, permission, python, rings, traffic
from sensor.node.doctor.check import Check, State


@dataclass(frozen=True)
class Question:
    """The scope of an examination."""

    interfaces: tuple[str, ...] = (links.AUTO,)
    megabytes: int = 64
    """Ring settings of each interface."""
    address: str | None = None
    """Address of the manager; None: that of the cluster of `state`."""
    state: Path = Path("/nonexistent")
    patience_s: float = 3.0
    """Seconds to wait for traffic."""


def examine(question: Question) -> Iterator[Check]:
    """The checks, each as soon as it is made. Nothing on the machine is changed."""
    present = {each.name: each for each in list_interfaces()}
    names = links.named(question.interfaces, present.values())
    found = permission.Permission.find()
    yield permission.judge(found, names)
    yield python.judge(python.Python.find())
    yield from _machine()
    yield from _capture(question, names, present, may_capture=not found.error)
    yield manager.judge(manager.Answer.find(question.address, question.state), __version__)


def _machine() -> Iterator[Check]:
    yield kernels.judge(kernels.Kernels.find())
    yield filters.judge_libpcap(filters.Libpcap.find())
    yield filters.judge_memory(filters.FilterMemory.find())
    yield clock.judge(clock.Clock.find())


def _capture(
    question: Question, names: Sequence[str], present: Mapping[str, Interface], *, may_capture: bool
) -> Iterator[Check]:
    """The checks of the interfaces, one after the other; their traffic is looked at together."""
    linked = [links.judge_link(name, present.get(name), present) for name in names]
    ready = [name for name, check in zip(names, linked, strict=True) if check.state is State.OK]
    yield rings.judge(rings.Rings.find(ready, question.megabytes, may_capture=may_capture))
    if not names:
        reason = "no interface is up that can be captured from; `sensor interfaces` lists all: name one with -i"
        yield Check(links.LINK, State.FAILED, reason)
    seen = traffic.try_to_look(ready, question.patience_s) if may_capture and ready else {}
    for name, check in zip(names, linked, strict=True):
        yield check
        if name in present:
            yield links.judge_offloads(present[name])
            yield traffic.judge(name, seen.get(name) or _unseen(name in ready))


def _unseen(is_ready: bool) -> str:
    return "it takes the permission to capture" if is_ready else "its link comes first"
