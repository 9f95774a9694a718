"""A definition refuses what cannot work, and is known by its digest."""

import subprocess
import sys

import pytest

from sensor.sumstats import Definition, Sample, Sum, Threshold, Unique

SCAN = {"name": "scan", "key_words": 3, "epoch_ns": 5, "reducers": (Unique("targets", words=2, max=50, keep=10),)}


@pytest.mark.parametrize(
    "wrong",
    [
        {"reducers": ()},
        {"reducers": (Sum("x"), Sum("x"))},
        {"reducers": (Sum("begin"),)},
        {"reducers": (Sum("two words"),)},
        {"reducers": (Unique("x", words=0),)},
        {"reducers": (Unique("x", max=-1),)},
        {"threshold": Threshold({"target": 5.0})},
        {"threshold": Threshold({"targets": 51.0})},
        {"reducers": (Sample("x"),), "threshold": Threshold({"x": 5.0})},
        {"hop_ns": 2},
        {"hop_ns": 10},
        {"key_words": 0},
        {"epoch_ns": -1},
        {"max_keys": 0},
        {"max_bytes": 0},
    ],
)
def test_what_cannot_work_is_refused(wrong):
    with pytest.raises(ValueError):
        Definition(**{**SCAN, **wrong})


def test_a_threshold_at_max_can_be_reached():
    assert Definition(**SCAN, threshold=Threshold({"targets": 50.0})).streams[""][0].name == "targets"


def test_the_digest_is_the_same_in_every_process_and_another_for_another_definition():
    code = (
        "from sensor.sumstats import Definition, Unique\n"
        "print(Definition('scan', 3, 5, (Unique('targets', words=2, max=50, keep=10),)).digest)"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert Definition(**SCAN).digest == other
    assert Definition(**{**SCAN, "epoch_ns": 6}).digest != other
    assert Definition(**{**SCAN, "threshold": Threshold({"targets": 5.0})}).digest != other
    assert Definition(**{**SCAN, "reducers": (Unique("targets", words=2, max=51, keep=10),)}).digest != other
