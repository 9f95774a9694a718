"""Of which TCP connections with data both ends are heard: it tells of a mirror port that copies one direction only."""

import numpy as np
import pytest

from sensor.flows import FlowTable
from tests.flows.packets import B, every, run, talk, tcp


def ways(rows, batch=None):
    table = FlowTable()
    run(table, rows, every(1_000_000, rows), batch)
    return table.counters["data_connections"], table.counters["data_connections_both_ways"]


@pytest.mark.parametrize(
    ("script", "found"),
    [
        (">S <SA >A >A+10 <A+20 >FA <FA", (1, 1)),
        (">S >A >A+10 >A+10 >FA", (1, 0)),  # the originator's direction only
        ("<SA <A+20 <FA", (1, 0)),
        (">A+10 <A", (1, 1)),  # joined in the middle, and heard from the other end only after the data
        ("<A+20 >A+10 <A+1", (1, 1)),
        (">S <SA >A <RA", (0, 0)),  # no data
        (">S", (0, 0)),
        (">S <RA", (0, 0)),
    ],
)
def test_a_connection_counts_once_it_carries_data_and_once_more_when_both_ends_were_heard(script, found):
    rows = talk(script)
    assert ways(rows) == ways(rows, batch=1) == found


@pytest.mark.parametrize("flags", ["S", "A", "F", "0", "FPU", "SA"])
def test_probes_are_no_connections_that_one_direction_is_missing_of(flags):
    probes = [tcp(flags.replace("0", ""), ("192.0.2.1", 40000), ("198.51.100.2", port)) for port in range(1, 100)]
    assert ways(np.concatenate(probes)) == (0, 0)


def test_of_many_connections_each_counts_by_itself():
    both = [talk(">S <SA >A >A+10 <A+20", ("192.0.2.1", port), B) for port in range(1000, 1030)]
    alone = [talk(">S >A >A+10 >A+20", ("192.0.2.1", port), B) for port in range(2000, 2020)]
    assert ways(np.concatenate(both + alone)) == (50, 30)
