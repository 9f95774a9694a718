"""A sensor that runs in a host of the lab: what it tells, when each line of it was read, and what it says."""

import contextlib
import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from tests.replaying import ROOT

PATIENCE_S = 60.0
ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
"""As users have it: that each line is read at once is then the sensor's doing."""
ABOUT = ("detection", "kind", "src", "dst", "port", "threshold", "proto", "severity", "attack", "version")
"""What an alert says that does not depend on when, nor by which sensor, the packets were seen."""


@dataclass(frozen=True)
class Told:
    """A line of JSON, and the time of the system's clock (ns) at which it was read."""

    at: int
    record: dict[str, Any]


class Sensor:
    """`sensor ARGUMENTS` in a host, started; `sensing` also ends it."""

    def __init__(self, host, *arguments):
        command = [sys.executable, "-m", "sensor", *map(str, arguments)]
        self.process = host.popen(command, cwd=ROOT, env=ENVIRONMENT)
        self.told: list[Told] = []
        self.said: list[str] = []
        self._news = threading.Condition()
        self._open_pipes = 2
        self._readers = [threading.Thread(target=read, daemon=True) for read in (self._hear, self._listen)]
        for reader in self._readers:
            reader.start()

    @property
    def alerts(self) -> list[Told]:
        """The alerts so far."""
        return [each for each in self.told if each.record["event_type"] == "alert"]

    @property
    def summary(self) -> dict[str, Any]:
        """The closing record."""
        assert self.told and self.told[-1].record["event_type"] == "summary", self.said
        return self.told[-1].record

    def wait_for(self, condition: Callable[[], Any]) -> None:
        """Return once it holds, as looked at whenever a line has come; fails rather than wait for ever."""
        with self._news:
            assert self._news.wait_for(lambda: condition() or not self._open_pipes, PATIENCE_S), self.said
            assert condition(), (self.said, self.told)

    def wait_for_alert(self, detection: str) -> Told:
        """The first alert of that detection, once it is told."""
        named = lambda: [each for each in self.alerts if each.record["detection"] == detection]  # noqa: E731
        self.wait_for(named)
        return named()[0]

    def end(self, sign: int = signal.SIGINT) -> float:
        """Send the signal and read what is told until the end; the seconds that it took."""
        begun = time.monotonic()
        self.process.send_signal(sign)
        self.process.wait(timeout=PATIENCE_S)
        took = time.monotonic() - begun
        self.close()
        return took

    def close(self) -> None:
        """Kill it if it runs, and read the rest."""
        self.process.kill()
        self.process.wait()
        for reader in self._readers:
            reader.join(PATIENCE_S)
        for pipe in (self.process.stdout, self.process.stderr):
            pipe.close()

    def _hear(self):
        for line in self.process.stdout:
            self._note(self.told, Told(time.time_ns(), json.loads(line)))
        self._note_end()

    def _listen(self):
        for line in self.process.stderr:
            self._note(self.said, line.rstrip("\n"))
        self._note_end()

    def _note(self, lines, new):
        with self._news:
            lines.append(new)
            self._news.notify_all()

    def _note_end(self):
        with self._news:
            self._open_pipes -= 1
            self._news.notify_all()


@contextlib.contextmanager
def sensing(host, *arguments) -> Iterator[Sensor]:
    """A sensor that has opened its interfaces; ended, whatever happens."""
    sensor = Sensor(host, *arguments)
    try:
        sensor.wait_for(lambda: any("listening on" in line for line in sensor.said))
        yield sensor
    finally:
        sensor.close()


def final(records: list[dict[str, Any]]) -> list[list[Any]]:
    """What alerts came to: those that no other stands for, with their final value."""
    updates = {each["id"]: each for each in records if each["event_type"] == "alert_update"}
    found = []
    for alert in (each for each in records if each["event_type"] == "alert"):
        last = updates.get(alert["id"], alert)
        if not last.get("folded_into") and last.get("state") != "withdrawn":
            found.append([*(alert[name] for name in ABOUT), last["value"]])
    return sorted(found, key=str)
