"""A worker and a manager in one process end in order, whenever they are told to."""

import dpkt

from sensor.capture import open_savefiles
from sensor.config import configure
from sensor.node import Standalone
from sensor.packet import FULL_BLOCK


def test_a_stop_that_comes_before_the_run_is_heeded(tmp_path):
    """As of a signal that comes when the source is open and the run has not begun: of a file, one block is read."""
    savefile = tmp_path / "long.pcap"
    with savefile.open("wb") as file:
        writer = dpkt.pcap.Writer(file)
        for second in range(3 * FULL_BLOCK):
            writer.writepkt(bytes(60), second)
    node = Standalone(configure((), (), ()), [])
    node.stop()
    with open_savefiles([str(savefile)]) as source:
        assert node.run(source, lambda done, packets: None).packets_read == FULL_BLOCK
