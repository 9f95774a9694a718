"""Which epochs are due: found without looking at all that are open, so that quiet weeks take their time and no more."""

import sys

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from sensor.cluster.agenda import Agenda
from sensor.cluster.ledger import Ledger
from tests.cluster.clusters import run
from tests.replaying import ETHER, write


def test_the_epochs_that_are_over_first_come_first_and_those_of_one_time_together():
    agenda = Agenda()
    for epoch, until in ((("a", 3), 40), (("a", 1), 20), (("b", 1), 20), (("a", 2), 30)):
        agenda.note(epoch, until)
    assert agenda.first() == (20, [("a", 1), ("b", 1)])
    agenda.strike(("a", 1))
    assert agenda.first() == (20, [("b", 1)])
    agenda.strike(("b", 1))
    assert agenda.first() == (30, [("a", 2)])
    assert len(agenda) == 2


def test_an_epoch_that_is_said_to_end_at_another_time_is_due_then_alone():
    agenda = Agenda()
    agenda.note(("a", 1), 20)
    agenda.note(("a", 1), 50)
    agenda.note(("a", 2), 30)
    assert agenda.first() == (30, [("a", 2)])
    agenda.strike(("a", 2))
    assert agenda.first() == (50, [("a", 1)])
    agenda.note(("a", 1), 10)
    assert agenda.first() == (10, [("a", 1)])
    agenda.strike(("a", 7))
    agenda.clear()
    assert agenda.first() is None


def quiet(tmp_path, minutes):
    """A question and its answer a minute, each time from another port."""
    packets = []
    for minute in range(minutes):
        asked = IP(src="10.0.0.5", dst="192.0.2.123") / UDP(sport=9000 + minute, dport=123) / Raw(b"what time is it")
        told = IP(src="192.0.2.123", dst="10.0.0.5") / UDP(sport=123, dport=9000 + minute) / Raw(b"it is late")
        packets += [(60 * minute, ETHER / asked), (60 * minute + 0.1, ETHER / told)]
    return write(tmp_path / f"{minutes}.pcap", packets)


@pytest.mark.parametrize("workers", [1, 2])
def test_each_epoch_is_looked_at_once_however_many_a_block_holds(tmp_path, monkeypatch, workers):
    looked = []
    missing = Ledger.missing
    monkeypatch.setattr(Ledger, "missing", lambda *given: looked.append(given[1:3]) or missing(*given))
    ran = run(quiet(tmp_path, 200), workers)
    assert len(looked) == len(set(looked)) == ran.manager.status(0.0).epochs_closed >= 200


def lines_run(path):
    """How many lines of Python a run of a capture in one block takes."""
    count = 0

    def trace(frame, event, _):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        run(path)
    finally:
        sys.settrace(before)
    return count


def test_twice_the_epochs_in_a_block_take_twice_the_work(tmp_path):
    run(quiet(tmp_path, 10))  # what is done once is done
    few, twice, more = (lines_run(quiet(tmp_path, minutes)) for minutes in (10, 160, 310))
    assert (more - few) / (twice - few) == pytest.approx(2, rel=0.02)
