"""What a manager keeps on disk: alerts go to whatever store it is given."""

import json

import msgspec

from sensor.cluster.manager import Manager
from sensor.node.manager_store import ManagerStore
from tests.outputs.test_terminal import ALERT, UPDATE


class InMemory:
    """A store of alerts that is full when it is told so."""

    waiting_bytes = 0

    def __init__(self):
        self.lines, self.is_full = {}, False
        self.lost, self.failures, self.error, self.waiting = 0, 0, "", 0

    def open(self):
        return []

    def write(self, records):
        new = {id: line for id, line in records if id not in self.lines}
        if self.is_full:
            self.failures, self.error, self.waiting = self.failures + 1, "it is full", len(new)
            return 0
        self.lines, self.error, self.waiting = self.lines | new, "", 0
        return len(new)


def opened(folder, store):
    kept = ManagerStore(folder, lambda where: store)
    assert kept.open(Manager([], [])) == []
    return kept


def test_alerts_and_their_updates_go_to_another_store_each_under_its_id(tmp_path):
    store = InMemory()
    kept = opened(tmp_path / "state", store)
    kept.write([ALERT, UPDATE])
    kept.write([ALERT])
    kept.close()
    assert list(store.lines) == ["1", f"1 update {UPDATE.ts} open"]
    assert json.loads(store.lines["1"]) == json.loads(msgspec.json.encode(ALERT))
    assert not (tmp_path / "state" / "alerts.jsonl").exists()


def test_a_store_that_takes_nothing_is_counted_and_said_once(tmp_path, caplog):
    store = InMemory()
    kept = opened(tmp_path / "state", store)
    store.is_full = True
    for _ in range(2):
        kept.write([ALERT])
    assert kept.is_stuck and kept.counters == {"alerts_waiting": 1, "alerts_lost": 0, "alert_file_failures": 2}
    store.is_full = False
    kept.write([ALERT])
    kept.close()
    assert not kept.is_stuck and [each.message for each in caplog.records] == [
        "alerts wait: it is full",
        "alerts can be written again",
    ]
