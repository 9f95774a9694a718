"""Rates of an interface: two readings of its counters, divided by the time between them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sensor.capture.live.interfaces import counters
from sensor.clock import elapsed_s


@dataclass(frozen=True, slots=True)
class Rates:
    """An interface's receive rates per second."""

    seconds: float
    """The length of the measurement (s)."""
    packets_per_second: float
    bits_per_second: float
    drops_per_second: float
    """Packets that the card or its driver dropped or missed."""


def measure(seconds: float, wait: Callable[[float], object]) -> dict[str, Rates]:
    """Return the rates of all interfaces, by name, over about `seconds`, during which `wait` waits.

    An interface that appears or disappears meanwhile is left out, as is one whose counters restarted. Some drivers
    update their counters only every second or two: over less than that, their rates jump.
    """
    before, start = counters(), elapsed_s()
    wait(seconds)
    after, lasted = counters(), elapsed_s() - start
    return {name: found for name in after if (found := rates(before.get(name, {}), after[name], lasted))}


def rates(before: Mapping[str, int], after: Mapping[str, int], seconds: float) -> Rates | None:
    """Return the rates between two readings of `Interface.statistics`; None if a counter is new, or restarted."""
    grown = {name: count - before.get(name, count + 1) for name, count in after.items()}
    if not grown or min(grown.values()) < 0:
        return None
    drops = grown["rx_dropped"] + grown["rx_missed_errors"]
    return Rates(seconds, grown["rx_packets"] / seconds, 8 * grown["rx_bytes"] / seconds, drops / seconds)
