"""The law, of whole processes: captures through a real pipe, a few packets at a time, come to what the files do."""

import json
import random
import subprocess
import sys
from itertools import pairwise

import pytest

from tests.replaying import PCAPS, ROOT, replay
from tools.derived import FILE_HEADER, RECORD_HEADER

CAPTURES = ("random-scan", "address-scan-udp", "port-scan-ipv6", "traceroute")
PATIENCE_S = 120.0
FACTS = ("detection", "kind", "src", "dst", "port", "severity", "message", "value", "first_seen", "last_seen")
SAME = ("packets_read", "packets_decoded", "refused", "weirds", "flows", "bytes", "observations")


def pieces(data, rng):
    """A capture in pieces of a few packets, cut anywhere."""
    at, ends = FILE_HEADER, []
    while at < len(data):
        at += RECORD_HEADER.size + RECORD_HEADER.unpack_from(data, at)[2]
        ends.append(at)
    cuts = [0, *(end - rng.randint(0, 20) for end in ends if rng.random() < 0.1), len(data)]
    return [data[start:end] for start, end in pairwise(cuts)]


def standing(records):
    """What stands of the alerts, by id, as it was said last."""
    found = {}
    for each in records:
        if each["event_type"] == "alert":
            found[each["id"]] = each
        elif each["event_type"] == "alert_update" and (each["folded_into"] or each["state"] == "withdrawn"):
            del found[each["id"]]
        elif each["event_type"] == "alert_update":
            found[each["id"]] = found[each["id"]] | each
    return {id: [each[name] for name in FACTS] for id, each in found.items()}


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("name", CAPTURES)
def test_what_stands_of_a_pipe_is_what_stands_of_the_file(name, workers):
    path = PCAPS / f"{name}.pcap"
    command = [sys.executable, "-m", "sensor", "replay", "--json", "--workers", str(workers), "-"]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for piece in pieces(path.read_bytes(), random.Random(f"{name} {workers}")):
            process.stdin.write(piece)
            process.stdin.flush()
        output, _ = process.communicate(timeout=PATIENCE_S)
    *told, summary = map(json.loads, output.splitlines())
    alone = replay(path)
    assert process.returncode == 0
    assert standing(told) == standing(alone.alerts)
    assert {each: summary[each] for each in SAME} == {each: alone.summary[each] for each in SAME}
