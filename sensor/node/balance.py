"""The balance: whether one of several workers gets far more of the packets than the others."""

from collections.abc import Mapping

from sensor.node.hints import Hint

OVER = 2.0
"""Times the mean of the others, above which one has too much. The mean of all would not do: of two workers, one that
gets everything has just twice that."""
EVEN = 1.5
"""Times the mean of the others, below which it is no longer too much: what lies between may go on as it is."""
MATTERS = 10_000.0
"""Packets a second of the busiest, from which it matters: a hundredth of what a core can decode (`tools/bench`)."""


def busiest(rates: Mapping[str, float], over: float = OVER) -> str:
    """The worker with over so many times the packets a second that the others have on average, if there is one."""
    if len(rates) < 2:
        return ""
    name = max(rates, key=lambda each: (rates[each], each))
    others = (sum(rates.values()) - rates[name]) / (len(rates) - 1)
    return name if rates[name] >= MATTERS and rates[name] > over * others else ""


class Balance:
    """One worker gets much more than the others."""

    def __init__(self) -> None:
        self.hint: Hint | None = None
        """The current hint."""
        self._name = ""

    def judge(self, rates: Mapping[str, float]) -> str:
        """Return a line when one worker gets too many packets a second, and when none does any more."""
        if self._name and busiest(rates, EVEN) == self._name:
            return ""
        was, self._name = self._name, busiest(rates)
        if not self._name:
            self.hint = None
            return "the workers get about as many packets each again" if was else ""
        share = rates[self._name] / sum(rates.values())
        much = f"{share:.0%} of the packets of {len(rates)} workers ({rates[self._name]:,.0f} a second)"
        text = (
            f"{self._name} gets {much}: one pair of hosts has most of the traffic, or what shares it out does so badly"
        )
        self.hint = Hint(f"uneven {self._name}", text)
        return text
