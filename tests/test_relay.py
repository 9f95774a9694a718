"""The relay: a manager says what looks wrong at its workers when it is new, and no more than anyone can read."""

from sensor.node.worker_hints import MOST, WorkerHints


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_a_hint_is_said_when_it_is_new_and_again_once_it_was_over():
    relay = WorkerHints(Clock())
    heard = [relay.update("a", hints) for hints in (["x"], ["x"], ["y", "x"], [], ["x"])]
    assert heard == [["a: x"], [], ["a: y"], ["a: over: y", "a: over: x"], ["a: x"]]
    assert relay.update("b", ["x"]) == ["b: x"]
    assert relay.hints == relay.said == ["a: x", "b: x"]
    relay.update("a", [])
    assert (relay.hints, relay.said) == (["b: x"], ["a: x", "b: x"])


def test_it_is_said_when_packets_come_again_but_not_of_a_worker_that_is_gone():
    relay, lull = WorkerHints(Clock()), "eth1: no packets for 10 s: none arrive there"
    assert relay.update("a", [lull]) == [f"a: {lull}"]
    assert relay.update("a", []) == ["a: eth1: packets come again"]
    relay.update("a", [lull])
    relay.forget("a")
    assert relay.hints == []
    assert relay.update("a", []) == []


def test_a_worker_that_says_ever_more_is_soon_not_said_on_and_others_are():
    clock = Clock()
    relay = WorkerHints(clock)
    said = sum(len(relay.update("a", [str(n)])) for n in range(1000))
    assert said == 21
    assert relay.unsaid == 979
    assert relay.update("b", ["odd"]) == ["b: odd"]
    clock.now = 10.0
    assert sum(len(relay.update("a", [str(n)])) for n in range(1000)) == 2


def test_what_a_worker_says_is_capped_and_drives_no_terminal():
    relay = WorkerHints(Clock())
    relay.update("a", [f"\x1b[2J{n}" for n in range(1000)])
    assert len(relay.hints) == MOST
    assert relay.hints[0] == "a: \\x1b[2J0"
