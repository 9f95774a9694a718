"""The catalogue of counters: every counter that a run tells is in it, under one name, with one meaning."""

import json
import re

import pytest

from sensor.capture.bpf.missed import BEHIND, TAGGED, counter
from sensor.counters import CATALOGUE, metric
from sensor.node.rates import QUEUE_DROPS
from tests.replaying import PCAPS, ROOT, replay, sensor

SCAN = PCAPS / "port-scan-syn.pcap"


def unknown(counters):
    return {name for name in counters if metric(name) is None}


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("options", [[], ["--filter", "vlan and tcp"], ["--filter", "udp port 9"]])
def test_every_counter_of_a_replay_is_in_the_catalogue(workers, options):
    ran = replay("--workers", workers, *options, SCAN)
    assert len(ran.summary["counters"]) > 40 and unknown(ran.summary["counters"]) == set()


def test_so_are_those_of_captures_that_are_damaged_or_of_unknown_link_types(tmp_path):
    odd = tmp_path / "odd.pcap"
    content = bytearray(SCAN.read_bytes()[:-5])
    content[20:24] = (250).to_bytes(4, "little")
    odd.write_bytes(content)
    counters = json.loads(sensor("replay", "--json", odd).stdout.splitlines()[-1])["counters"]
    assert {"files_damaged", "packets_unknown_linktype_250"} <= counters.keys() and unknown(counters) == set()


@pytest.mark.parametrize("name", [TAGGED, *map(counter, BEHIND), "packets_filter_inapplicable_1"])
def test_so_are_those_of_a_filter_that_matches_nothing(name):
    assert metric(name) is not None


@pytest.mark.parametrize("name", ["", "packets", "packets_", "packets_filtered_behin", "ring_drops_1"])
def test_nothing_else_is(name):
    assert metric(name) is None


def test_every_counter_is_said_once_in_the_reference():
    page = (ROOT / "docs" / "reference.md").read_text().partition("## Counters")[2]
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(CATALOGUE)


def test_what_is_lost_behind_the_decoder_is_told_every_second():
    assert {"alerts_lost", "epochs_unsent", "sumstats_keys_evicted", "datagrams_evicted"} < set(QUEUE_DROPS)
    assert not {"ring_drops", "nic_drops", "flows", "datagrams_timed_out"} & set(QUEUE_DROPS)
