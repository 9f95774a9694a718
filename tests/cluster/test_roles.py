"""Roles: every cell of the table of who may send what."""

import pytest

from sensor.bus.message import Message
from sensor.cluster.messages import Ack, Counts, Heartbeat
from sensor.cluster.vocabulary import VOCABULARY

TABLE = """
                                    nobody worker manager observer
hello                                yes    -      -       -
welcome                              -      -      yes     -
refused                              -      -      yes     -
ack                                  -      -      yes     -
cluster_ss_request                   -      -      yes     -
cluster_ss_response                  -      yes    -       -
cluster_ss_series                    -      yes    -       -
cluster_key_intermediate_response    -      yes    -       -
cluster_key_request                  -      -      yes     -
cluster_key_response                 -      yes    -       -
cluster_share                        -      -      yes     -
cluster_threshold_crossed            -      -      yes     -
thresholds_reset                     -      -      yes     -
detection_switched_off               -      yes    -       -
heartbeat                            -      yes    -       -
delivered                            -      yes    -       -
certificate_request                  -      yes    -       -
certificate_issued                   -      -      yes     -
ping                                 -      yes    yes     yes
status_request                       -      -      -       yes
status                               -      -      yes     -
remove_worker                        -      -      -       yes
worker_removed                       -      -      yes     -
request_key                          -      -      -       yes
key_result                           -      -      yes     -
"""
ROLES = (None, "worker", "manager", "observer")
ROWS = {name: cells for name, *cells in (line.split() for line in TABLE.strip().splitlines()[1:])}
TYPES = {each.__struct_config__.tag: each for each in Message.__subclasses__() if each.__module__.startswith("sensor.")}


def test_the_table_is_of_all_messages():
    assert set(ROWS) == set(TYPES)


@pytest.mark.parametrize("name", sorted(ROWS))
def test_each_role_may_send_just_what_the_table_says(name):
    assert [TYPES[name] in VOCABULARY.may_send[role] for role in ROLES] == [cell == "yes" for cell in ROWS[name]]


def test_a_worker_speaks_for_itself_only():
    beat = Heartbeat("a", 1, 1, 0, 0, Counts())
    assert VOCABULARY.speaks_for("a", beat)
    assert not VOCABULARY.speaks_for("b", beat)
    assert VOCABULARY.speaks_for("b", Ack(1, 1))
