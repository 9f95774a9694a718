"""Simulated clusters: they come to what one process comes to, whatever dies; faults put in on purpose are found."""

import json
import os
import re
import subprocess
import sys

import pytest

from tests.replaying import ROOT

BROKEN = {
    "skip-sequence-check": 2,
    "acknowledge-before-log": 14,
    "count-replies": 0,
    "judge-last-group": 0,
    "drop-epoch-from-crossings": 3,
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
    ran = simulate("--seeds", 12, "--json")
    assert (ran.returncode, ran.stderr) == (0, "")
    summary = json.loads(ran.stdout)
    assert (summary["seeds"], summary["failed"]) == (12, 0)
    assert min(summary[name] for name in ("kills", "cuts", "dropped", "duplicated", "reordered")) > 0


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_a_protocol_that_is_broken_on_purpose_is_found_out_and_the_command_that_is_printed_repeats_it(name):
    ran = simulate("--seeds", 1, "--first-seed", BROKEN[name], "--break", name)
    assert ran.returncode == 1
    [command] = re.findall(r"failed; tools/simulate (.*)", ran.stderr)
    assert simulate(*command.split()).stderr == ran.stderr


def test_a_seed_is_the_same_run_in_every_process():
    once, again = (simulate("--seeds", 3, "--first-seed", 20, "--json", seed=seed) for seed in ("1", "2"))
    first, second = json.loads(once.stdout), json.loads(again.stdout)
    del first["seeds_per_second"], second["seeds_per_second"]
    assert first == second
