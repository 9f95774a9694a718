"""A bell wakes whoever waits for something else: a worker whose input is silent hears its manager at once."""

import os
import select

from sensor.bell import Bell
from sensor.node.polled_stdin import attended


def rings(bell):
    return bool(select.select([bell], [], [], 0)[0])


def test_a_bell_rings_until_it_is_read_however_often_it_was_rung():
    bell = Bell()
    assert not rings(bell)
    for _ in range(100_000):  # more than its socket holds
        bell.ring()
    assert rings(bell)
    bell.read()
    assert not rings(bell)
    bell.read()
    bell.ring()
    assert rings(bell)


def test_an_input_that_is_silent_for_ever_is_attended_to_when_the_bell_rings():
    inlet, outlet = os.pipe()
    bell, attended_to = Bell(), []

    def attend():
        attended_to.append(rings(bell))
        if len(attended_to) == 2:
            os.write(outlet, b"at last")
            os.close(outlet)
        else:
            bell.ring()
        return True

    bell.ring()
    with open(inlet, "rb", buffering=0) as file:
        assert (
            attended(file, attend, bell=bell, pause_ms=-1).read() == b"at last"
        )  # which without a bell waits for ever
    assert attended_to == [False, False]
