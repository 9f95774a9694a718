"""The law: what stands after live playing is what stands from the file, however messages and packets come, for any N.

Live, alerts are told early, and updated, withdrawn or folded when their epochs are over.
"""

import random

import pytest

from sensor.alerts import AlertUpdate
from sensor.config import configure
from tests.cluster.clusters import Trickle, run
from tests.replaying import PCAPS
from tools.derived import DERIVED

FOLDERS = ("*.pcap", "ordinary/*.pcap.gz", "attacks/*.pcap.gz")
CAPTURES = [path for folder in FOLDERS for path in sorted(PCAPS.glob(folder))]
ALL = [pytest.param(path, id=path.name.split(".")[0]) for path in CAPTURES]
ALL += [pytest.param(each, id=each.name) for each in DERIVED]
ALONE, APART = (1, True), (1, False)
"""One worker in the manager's process, and in one of its own."""
SIZES = (5, 50, 500)
"""How many frames a block has at most, of which one is chosen for each run."""


@pytest.mark.parametrize("capture", ALL)
def test_what_stands_live_is_what_stands_from_the_file(capture, tmp_path):
    path = capture if capture in CAPTURES else capture.make(tmp_path / f"{capture.name}.pcap")
    alone = run(path)
    rng = random.Random(path.name)
    for workers, is_local in (rng.choice([ALONE, APART]), (2, False), (4, False)):
        ran = Trickle(configure().make, workers, rng, is_local=is_local).run(path, rng.choice(SIZES))
        assert ran.standing == alone.standing, workers
        assert accounts(ran) == accounts(alone), workers


def accounts(ran):
    """What became of the packets."""
    counts = ran.counts
    return counts.packets_read, counts.packets_decoded, counts.bytes, counts.refused, counts.flows, counts.observations


@pytest.mark.parametrize(("workers", "is_local"), [ALONE, APART, (2, False), (4, False)])
def test_what_is_told_early_is_told_again_when_its_epoch_is_over(workers, is_local):
    """What this file claims would be empty if nothing was told early."""
    ran = Trickle(configure().make, workers, random.Random(1), is_local=is_local).run(PCAPS / "random-scan.pcap", 50)
    assert {each.id for each in ran.told if isinstance(each, AlertUpdate)} == {each.id for each in ran.alerts}
