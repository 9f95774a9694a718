"""What an interface calls dropped is a loss as far as the ring lacks it, and where the driver says nothing else."""

import pytest

from sensor.capture.live.nic import EVERY_S, NicCounts, Shortfall


def lost(*looks):
    """What counts as lost after looks of (packets, missed, dropped, in the ring)."""
    judge = Shortfall()
    for at, (packets, missed, dropped, in_ring) in enumerate(looks):
        judge.compare(NicCounts(packets, missed, dropped), in_ring, at * EVERY_S)
    return judge.lost


@pytest.mark.parametrize(
    ("in_ring", "dropped", "found"),
    [(200, 200, 0), (204, 200, 0), (199, 200, 1), (150, 200, 50), (150, 50, 50), (150, 49, 49), (150, 0, 0)],
)
def test_what_is_dropped_is_lost_as_far_as_the_ring_got_less_than_was_received(in_ring, dropped, found):
    assert lost((200, 0, dropped, in_ring), (200, 0, dropped, in_ring)) == found


def test_where_the_driver_has_a_name_for_what_it_lost_the_rest_is_no_loss():
    assert lost((200, 1, 50, 100), (200, 1, 50, 100)) == 0


def test_frames_on_their_way_to_the_ring_are_not_lost():
    assert lost((200, 0, 200, 100), (300, 0, 300, 200), (400, 0, 400, 300)) == 0
    assert lost((200, 0, 200, 100), (300, 0, 300, 199)) == 1


def test_what_was_lost_stays_lost_and_looks_in_quick_succession_are_one():
    assert lost((200, 0, 50, 150), (200, 0, 50, 150), (300, 0, 50, 300), (300, 0, 50, 300)) == 50
    judge = Shortfall()
    judge.compare(NicCounts(200, 0, 50), 150, 10.0)
    judge.compare(NicCounts(300, 0, 50), 150, 10.0 + EVERY_S / 2)
    judge.compare(NicCounts(300, 0, 50), 200, 10.0 + EVERY_S)
    assert judge.lost == 0
