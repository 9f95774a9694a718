"""Interfaces are listed as they are, watched as they change, and a live source outlives its own."""

import contextlib
import select
import time

import pytest

from sensor.capture.bpf.filter import Filter
from sensor.capture.live.af_packet import Geometry
from sensor.capture.live.fanout import Fanout
from sensor.capture.live.interfaces import automatic, list_interfaces
from sensor.capture.live.link_watch import LinkEvent, LinkWatch
from sensor.capture.live.outages import Gap
from tests.lab.wire import Sender, balanced, blocks_of, copied, fanout_of, udp, wait_for, wire

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
assert wire  # a fixture


@contextlib.contextmanager
def watching(wire):
    with wire.host.inside():
        watch = LinkWatch()
    with contextlib.closing(watch):
        yield watch


def interfaces(wire):
    with wire.host.inside():
        return {each.name: each for each in list_interfaces()}


def events(watch, count):
    found = []
    while len(found) < count and select.select([watch], [], [], 5)[0]:
        found += watch.read()
    return found


def test_an_interface_is_listed_as_it_is(wire):
    with wire.live():
        wire.send([udp(i) for i in range(3)])
        near, lo = interfaces(wire)["near"], interfaces(wire)["lo"]
    assert (near.kind, near.driver, near.speed, near.mtu, near.linktype) == ("veth", "veth", 10000, 1500, 1)
    assert (near.is_up, near.state, near.promiscuity, near.master) == (True, "up", 1, None)
    assert near.below == interfaces(wire)["far"].index and interfaces(wire)["near"].promiscuity == 0
    assert set(near.offloads) == {"gro", "lro", "tso", "rx-vlan"} and near.offloads["tso"]
    assert near.statistics["rx_packets"] >= 3 and near.statistics["rx_bytes"] >= 180
    assert set(near.statistics) == {"rx_packets", "rx_bytes", "rx_dropped", "rx_missed_errors"}
    assert (lo.kind, lo.driver, lo.speed, lo.hardware) == ("", "", None, 772)
    (taken,) = automatic(interfaces(wire).values())
    assert taken.name in ("near", "far") and taken.index == min(near.index, near.below)


def test_a_bridge_is_the_master_of_its_ports(wire):
    with wire.route() as route:
        route.link("add", ifname="bridge", kind="bridge")
        bridge = route.link_lookup(ifname="bridge")[0]
        route.link("set", index=route.link_lookup(ifname="near")[0], master=bridge)
        try:
            assert interfaces(wire)["near"].master == interfaces(wire)["bridge"].index
        finally:
            route.link("del", index=bridge)


def test_changes_are_told_as_they_happen(wire):
    with watching(wire) as watch:
        assert watch.read() == []
        old = interfaces(wire)["near"].index
        wire.set("near", "down")
        assert LinkEvent("down", "near", old) in events(watch, 2)
        wire.set("near", "up")
        assert LinkEvent("up", "near", old) in events(watch, 2)
        wire.delete()
        assert LinkEvent("deleted", "near", old) in events(watch, 4)
        wire.make()
        new = interfaces(wire)["near"].index
        found = events(watch, 4)
        assert found.index(LinkEvent("created", "near", new)) < found.index(LinkEvent("up", "near", new))
        assert new != old and watch.overruns == 0


class Reading:
    """A source read step by step, while things happen to its interface."""

    def __init__(self, live):
        self.live, self.blocks, self.found = live, blocks_of(live), []

    def until(self, condition):
        """Read on until it holds."""
        step_all([self], condition)

    def rest(self):
        self.live.stop()
        for block in self.blocks:
            self.found += [data for data, *_ in copied(block)]
        return self.found


def step_all(sources, condition):
    """Read each of the sources on until it holds."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, [source.live.counters for source in sources]
        for source in sources:
            source.found += [data for data, *_ in copied(next(source.blocks))]


@contextlib.contextmanager
def reading(wire, watched=True, **options):
    with contextlib.ExitStack() as stack:
        watch = stack.enter_context(watching(wire)) if watched else None
        live = stack.enter_context(wire.live(watch=watch, wait_s=5 if watched else 0.05, **options))
        yield Reading(live)


@pytest.mark.parametrize("watched", [True, False])
def test_down_and_up_is_a_gap(wire, watched):
    first, second = [udp(i) for i in range(20)], [udp(i) for i in range(20, 40)]
    before = time.time_ns()
    with reading(wire, watched) as source:
        wire.send(first)
        wire.set("near", "down")
        source.until(lambda: source.live.counters["gaps"] == 1)
        down = time.time_ns()
        wire.set("near", "up")
        source.until(lambda: source.live.gaps)
        wire.send(second)
        source.until(lambda: len(source.found) == 40)
        assert source.rest() == first + second
        counters = source.live.counters
        (gap,) = source.live.gaps
    assert before < gap.start < down < gap.end < time.time_ns() and gap.reason == "down"
    assert counters["gap_ns"] == gap.end - gap.start and (counters["gaps"], counters["reopened"]) == (1, 0)
    assert balanced(counters) and counters["kernel_packets"] == 40


def test_down_and_up_before_anyone_looks_is_a_gap_too(wire):
    with reading(wire, watched=False) as source:
        wire.set("near", "down")
        wire.set("near", "up")
        source.until(lambda: source.live.gaps)
        assert source.live.counters["gaps"] == 1 and source.live.gaps[0].reason == "down"


@pytest.mark.parametrize("watched", [True, False])
def test_deleted_and_made_again_is_opened_again(wire, watched):
    first, second = [udp(i) for i in range(20)], [udp(i) for i in range(20, 40)]
    with reading(wire, watched, program=Filter("udp").program(1)) as source:
        wire.send(first)
        source.until(lambda: len(source.found) == 20 or source.live.counters["kernel_packets"] == 20)
        wire.delete()
        source.until(lambda: source.live.counters["gaps"] == 1)
        deleted = time.time_ns()
        wire.make()
        source.until(lambda: source.live.gaps)
        wire.send(second)
        source.until(lambda: len(source.found) == 40)
        assert source.rest() == first + second
        counters = source.live.counters
        (gap,) = source.live.gaps
    assert gap.start < deleted < gap.end and gap.reason in ("deleted", "down")
    assert (counters["gaps"], counters["reopened"], counters["kernel_packets"]) == (1, 1, 40) and balanced(counters)


def test_what_came_before_the_end_is_delivered_though_the_interface_is_gone(wire):
    sent = [udp(i) for i in range(200)]
    with reading(wire, retire_ms=100) as source:
        wire.send(sent)
        wait_for(lambda: source.live.taps[0].ring.waiting >= 200)
        wire.delete()
        wire.make()
        source.until(lambda: source.live.counters["reopened"] == 1)
        assert source.rest() == sent and balanced(source.live.counters)


def test_stop_is_heeded_while_there_is_no_interface(wire):
    with reading(wire) as source:
        wire.delete()
        try:
            source.until(lambda: source.live.counters["gaps"] == 1)
            assert source.rest() == [] and source.live.gaps == []
            assert source.live.counters["gap_ns"] > 0
        finally:
            wire.make()


def test_an_interface_that_is_down_can_be_opened_and_begins_with_a_gap(wire):
    wire.set("near", "down")
    with reading(wire) as source:
        assert source.live.counters["gaps"] == 1
        wire.set("near", "up")
        source.until(lambda: source.live.gaps)
        wire.send([udp(1)])
        source.until(lambda: source.found)
        assert source.rest() == [udp(1)] and isinstance(source.live.gaps[0], Gap)


def test_a_fanout_group_finds_itself_again(wire):
    sent = [udp(i, host=i % 200) for i in range(400)]
    with contextlib.ExitStack() as stack:
        one = stack.enter_context(reading(wire, watched=False, fanout=Fanout()))
        fanout = fanout_of(one.live)
        other = stack.enter_context(reading(wire, watched=False, fanout=fanout))
        wire.delete()
        wire.make()
        step_all((one, other), lambda: all(each.live.counters["reopened"] and each.live.gaps for each in (one, other)))
        assert fanout_of(one.live) == fanout_of(other.live) == fanout
        wire.send(sent)
        step_all((one, other), lambda: sum(each.live.counters["kernel_packets"] for each in (one, other)) == 400)
        found = [one.rest(), other.rest()]
    assert sorted(found[0] + found[1]) == sorted(sent) and all(found)


def test_the_account_is_exact_while_the_interface_comes_and_goes(wire):
    with reading(wire, watched=False, ring=Geometry(1 << 14, 4), retire_ms=1) as source:
        for round_ in range(4):
            sender = Sender(wire.sender())
            sender.start()
            many = source.live.counters["kernel_packets"] + 300
            source.until(lambda many=many: source.live.counters["kernel_packets"] > many)
            if round_ % 2:
                wire.set("near", "down")
                source.until(lambda: source.live.taps[0]._gaps.is_open)
                wire.set("near", "up")
            else:
                wire.delete()
                wire.make()
            sender.finish()
            source.until(lambda: source.live.taps[0]._gaps.count > 0 and not source.live.taps[0]._gaps.is_open)
        found = source.rest()
        assert balanced(source.live.counters) and len(found) == source.live.counters["packets_read"]
        assert source.live.counters["reopened"] == 2
