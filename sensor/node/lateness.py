"""Lateness: whose results came when their epochs were over, why, and what comes of them; and whose clock is behind."""

from collections.abc import Callable, Mapping

from sensor.clock import elapsed_s
from sensor.cluster.membership import Late

_SETTLED_S = 1.0
"""Seconds without further late results before they are reported: what a worker held comes all at once."""
_BEHIND_S = 60.0
"""By how much the packet clock of a live worker may be behind the furthest: more than a busy one is."""


class Lateness:
    """Says, once for each worker and time that it was late, how much of it came late; `deadline_s` is the manager's."""

    def __init__(self, deadline_s: float, clock: Callable[[], float] = elapsed_s) -> None:
        self._deadline_s, self._clock = deadline_s, clock
        self._known: dict[str, Late] = {}
        self._since: dict[str, float] = {}
        self._said: dict[str, Late] = {}
        self._behind: dict[str, str] = {}

    def hints(self, late: Mapping[str, Late]) -> list[str]:
        """Return the lines on each worker's late results."""
        lines = [line for name in sorted(late) for line in self._lines(name, late[name])]
        return [*lines, *(self._behind[name] for name in sorted(self._behind))]

    def judge(self, late: Mapping[str, Late], lags: Mapping[str, float]) -> list[str]:
        """Return new lines on late results, and on clocks (s) that are far behind the furthest."""
        now = self._clock()
        for name, found in late.items():
            if found != self._known.get(name, Late()):
                self._known[name], self._since[name] = found, now
        settled = [name for name, since in self._since.items() if now - since >= _SETTLED_S]
        return [*(line for name in settled for line in self._settled_lines(name)), *self._look_at_clocks(lags)]

    def finish(self, late: Mapping[str, Late]) -> list[str]:
        """Return the lines that are left at the end."""
        self._known.update(late)
        return [line for name in sorted(self._known) for line in self._settled_lines(name)]

    def _settled_lines(self, name: str) -> list[str]:
        self._since.pop(name, None)
        known, said = self._known[name], self._said.get(name, Late())
        self._said[name] = known
        return self._lines(name, known - said)

    def _lines(self, name: str, late: Late) -> list[str]:
        merged = "windows that are still open have them, and what else crosses is told as late"
        gone = f"as nothing was heard of it for {self._deadline_s:.0f} s"
        return [
            f"{_epochs(count)} of {name} came after {'it was' if count == 1 else 'they were'} over, {why}: {then}"
            for count, why, then in (
                (late.after_joining, "as it joined when others had come past that", merged),
                (late.after_silence, gone, merged),
                (late.left_out, "when nothing more could come of that", "its data was left out"),
            )
            if count
        ]

    def _look_at_clocks(self, lags: Mapping[str, float]) -> list[str]:
        behind = {name: lag for name, lag in lags.items() if lag >= _BEHIND_S}
        new = [name for name in sorted(behind) if name not in self._behind]
        self._behind = {name: self._behind.get(name) or _slow(name, lag) for name, lag in behind.items()}
        return [self._behind[name] for name in new]


def _epochs(count: int) -> str:
    return "1 epoch" if count == 1 else f"{count:,} epochs"


def _slow(name: str, lag: float) -> str:
    return (
        f"the packet clock of {name} is {lag:,.0f} s behind the furthest: no epoch is over before it has come past; "
        "is its clock right?"
    )
