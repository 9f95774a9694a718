"""Once it is warmed up, a node that captures has every kernel that traffic can ask for: none is compiled later on."""

import subprocess
import sys

import pytest

from sensor._jit import COMPILED
from sensor.config import configure
from sensor.node.warm import warm_up
from tests.replaying import PCAPS, ROOT

FOUND_LATER = f"""
import pathlib
from sensor import _jit
from sensor.capture import open_savefiles
from sensor.config import configure
from sensor.node import Standalone
from sensor.node.warm import warm_up

def known():
    names = [(each, each.py_func.__module__, each.py_func.__name__) for each in _jit._kernels]
    return {{(module, name, kind) for each, module, name in names for kind in each.signatures}}

warm_up(configure())
before = known()
for path in sorted(pathlib.Path({str(PCAPS)!r}).glob("*.pcap")):
    with open_savefiles([str(path)]) as source:
        Standalone(configure(), [], early=True, live=True).run(source, lambda done, packets: None)
assert ("sensor.capture.live.ring", "walk_blocks") in {{each[:2] for each in before}}
print(*sorted(each[:2] for each in known() - before if not each[0].startswith("sensor.capture.")), sep="\\n")
"""
"""Prints kernels; those that read files are no concern of one that captures."""


@pytest.mark.skipif(not COMPILED, reason="kernels are not compiled")
def test_no_kernel_is_missing_when_packets_come():
    ran = subprocess.run([sys.executable, "-c", FOUND_LATER], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (ran.returncode, ran.stdout.strip()) == (0, ""), ran.stdout + ran.stderr


OWN = '''
"""Tell: is told of nothing that nobody has sent."""
from sensor.detection import Alert, Detection, Stream, Sum, SumStat, Unique, on

def note(what):
    with open({told!r}, "a") as file:
        file.write(what + chr(10))
    raise RuntimeError(what)

class Tell(Detection):
    """Misses all."""

    def where(batch):  # without rows, to find what is misspelt, it is called at load
        if len(batch):
            note("where")

    def key(batch):
        if len(batch):
            note("key")

    seen = Stream("connection_rejected", "connection_attempt", key=("orig_h", key), value="resp_p", where=where)
    sums = SumStat(epoch="1m", hops=2, ports=Unique(seen), when=Unique(seen, when="ts"), total=Sum(seen, of=key))
    scan = SumStat(hops=0, epoch="1m", ports=Unique(seen))

    @sums.crosses(ports=3)
    def many(self, key, seen):
        note("many")

    @scan.crosses(lambda judged: note("function") if len(judged.num) else judged.num, at=3)
    def most(self, key, seen):
        note("most")

    @on("connection_rejected")
    def rejected(self, batch):
        note("rejected")
'''


def test_a_detection_of_ones_own_is_told_of_nothing_that_nobody_has_sent(tmp_path):
    told, plugin = tmp_path / "told", tmp_path / "tell.py"
    plugin.write_text(OWN.format(told=str(told)))
    settings = configure(plugins=[str(plugin)])
    assert [each for each in settings.detections if each.name == "tell"]
    warm_up(settings)
    assert not told.exists()
