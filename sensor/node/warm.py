"""Warming up: kernels are loaded, or compiled at first use, before packets come that will not wait for that."""

import numpy as np

from sensor.clock import SECOND, now_ns
from sensor.cluster.worker import Worker
from sensor.config import Settings
from sensor.packet import FRAME, Block

_SYN = bytes.fromhex(
    "020000000002020000000001 0800"
    "4500002800010000400600000a0000010a000002"  # IPv4 from 10.0.0.1 to 10.0.0.2
    "04d20050000000010000000050022000 00000000"  # TCP from port 1234 to 80: SYN
)


def warm_up(settings: Settings) -> None:
    """Take one made-up attempt to connect the whole way, in a worker that nobody hears of."""
    worker = Worker("warm-up", settings.make(), settings.flows, 0)
    frames = np.zeros(1, FRAME)
    frames["ts"], frames["caplen"], frames["wirelen"], frames["linktype"] = now_ns(), len(_SYN), len(_SYN), 1
    worker.process(Block((np.frombuffer(_SYN, np.uint8),), frames))
    worker.pass_time(int(frames["ts"][0]) + 600 * SECOND)
    worker.finish()
