"""A worker and a manager in one process end in order, whenever they are told to."""

import io

from sensor.capture import open_savefiles
from sensor.config import configure
from sensor.node import Standalone
from tests.replaying import PCAPS


def test_a_stop_that_comes_before_the_run_is_heeded():
    """As of a signal that comes when the source is open and the run has not begun: it is not lost."""
    node = Standalone(configure((), (), ()), [])
    node.stop()
    with open_savefiles([str(PCAPS / "random-scan.pcap")], stdin=io.BytesIO()) as source:
        summary = node.run(source, lambda done, packets: None)
    assert (summary.packets_read, summary.alerts) == (0, 0)
