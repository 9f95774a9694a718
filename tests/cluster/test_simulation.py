"""Simulated clusters: they come to what one process comes to, whatever dies; faults put in on purpose are found."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.replaying import ROOT

BROKEN = {
    "skip-sequence-check": 0,
    "acknowledge-before-log": 3,
    "count-replies": 0,
    "judge-last-group": 0,
    "drop-epoch-from-crossings": 20,
    "forget-given-up": 20,
    "name-all": 0,
    "forget-runs": 5,
    "last-by-hand-first": 0,
}
"""Each way to break the protocol, and a seed that finds it."""


def simulate(*arguments, seed="0"):
    return subprocess.run(
        [sys.executable, "tools/simulate", *map(str, arguments)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


def test_clusters_that_lose_messages_links_and_nodes_tell_what_one_process_tells():
    seeds = 100
    ran = simulate("--seeds", seeds, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    summary = json.loads(ran.stdout)
    assert (summary["seeds"], summary["failed"]) == (seeds, 0)
    network = "cuts", "dropped", "duplicated", "reordered"
    nodes = "kills", "crashes", "joins", "leaves", "steps_back", "ends_by_hand", "given_up"
    assert min(summary[name] for name in (*network, *nodes)) > 0


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_protocol_that_is_broken_on_purpose_is_found_out_and_the_command_that_is_printed_repeats_it(name):
    ran = simulate("--seeds", 1, "--first-seed", BROKEN[name], "--break", name)
    assert ran.returncode == 1
    [command] = re.findall(r"failed; tools/simulate (.*)", ran.stderr)
    assert simulate(*command.split()).stderr == ran.stderr


def test_what_a_broken_cluster_is_compared_with_is_not_broken():
    """In seed 4 each epoch is one group, of which the last is all: nothing is wrong with that run."""
    ran = simulate("--seeds", 1, "--first-seed", 4, "--break", "judge-last-group")
    assert (ran.returncode, ran.stderr) == (0, "")


def digest(first_seed, seeds, *, hash_seed):
    return json.loads(simulate("--seeds", seeds, "--first-seed", first_seed, "--json", seed=hash_seed).stdout)["digest"]


def test_a_seed_is_the_same_run_byte_for_byte_and_another_seed_another():
    assert digest(20, 3, hash_seed="1") == digest(20, 3, hash_seed="2") != digest(21, 3, hash_seed="1")


def test_a_seed_with_a_snapshot_of_a_member_that_has_just_begun_is_the_same_byte_for_byte():
    assert digest(2, 1, hash_seed="1") == digest(2, 1, hash_seed="2")
