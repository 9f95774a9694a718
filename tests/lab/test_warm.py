"""What is warm before privileges are given up: no kernel is compiled once packets come, whatever they are."""

import subprocess
import sys

from tests.lab.test_run import PATIENCE_S, frames_of
from tests.lab.wire import tagged, wire  # noqa: F401 - a fixture
from tests.replaying import ROOT

LISTENS = """
import contextlib, sys
from sensor import _jit
from sensor.capture.live.af_packet import RingSettings
from sensor.capture.bpf.filter import Filter
from sensor.capture.live.live_capture import Live
from sensor.config import configure
from sensor.node import Standalone
from sensor.node.warm import warm_up

settings = configure()
warm_up(settings)
before = {id(kernel): set(kernel.signatures) for kernel in _jit._kernels}
node = Standalone(settings, [], early=True, live=True)
program = Filter("ip or ip6 or arp").program(1)
with contextlib.closing(Live([RingSettings("near", program=program), RingSettings("lo")], wait_s=0.02)) as source:
    print("ready", flush=True)
    node.run(source, lambda done, packets: node.stop() if packets >= int(sys.argv[1]) else None)
after = {(kernel.py_func.__module__, kernel.py_func.__name__): kernel for kernel in _jit._kernels}
print([name for name, kernel in after.items() if set(kernel.signatures) - before[id(kernel)]])
"""


def test_no_kernel_is_compiled_while_packets_come(wire):  # noqa: F811
    names = ("random-scan", "port-scan-fragmented", "address-scan-ipv6", "port-scan-connect", "monitoring-poll")
    frames = [data for name in names for _, data in frames_of(name)]
    with wire.host.inside():
        command = [sys.executable, "-c", LISTENS, str(len(frames))]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "ready\n"
        wire.send([tagged(frames[0], 7), *frames])
        out, _ = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert out == "[]\n"
