"""Epochs that end by hand end where the detection says, however many workers are asked for."""

import textwrap

import pytest
from scapy.layers.inet import IP, TCP

from tests.replaying import ETHER, replay, sensor, write

BY_HAND = """
    from sensor.detection import Detection, Stream, Sum, SumStat, on

    class ByHand(Detection):
        "Counts refusals up to each one at port 99. Misses nothing."
        refused = Stream("connection_rejected", key="resp_h")
        each = SumStat(epoch="0s", total=Sum(refused))

        @on("connection_rejected")
        def look(self, batch):
            for at in (batch.resp_p == 99).nonzero()[0]:
                self.next_epoch(self.each, rows=batch[at : at + 1])

        @each.epoch_result
        def told(self, key, seen, epoch):
            with open({path!r}, "a") as file:
                print(epoch.index, key.resp_h, seen.total.sum, epoch.complete, file=file)
"""


def refusals():
    packets = []
    for n in range(120):
        server = f"10.0.{n % 7}.1"
        port = 99 if n % 25 == 24 else 80
        syn = ETHER / IP(src=f"10.1.{n}.2", dst=server) / TCP(sport=40000, dport=port, flags="S")
        rst = ETHER / IP(src=server, dst=f"10.1.{n}.2") / TCP(sport=port, dport=40000, flags="RA", ack=1)
        packets += [(float(n), syn), (n + 0.001, rst)]
    return packets


@pytest.fixture
def told(tmp_path):
    def run(workers):
        path, plugin = tmp_path / f"told-{workers}", tmp_path / "by_hand.py"
        plugin.write_text(textwrap.dedent(BY_HAND).format(path=str(path)))
        capture = write(tmp_path / "refused.pcap", refusals())
        options = "--plugin", plugin, "--detection", "by_hand", "--workers", workers, capture
        assert replay(*options).exit_code == 0
        return path.read_text().splitlines(), options

    return run


def test_two_workers_end_epochs_where_one_does(told):
    one, _ = told(1)
    sums: dict[int, int] = {}
    for row in one:
        epoch, _, total, is_complete = row.split()
        sums[int(epoch)] = sums.get(int(epoch), 0) + int(float(total))
        assert is_complete == "True"
    assert sums == {0: 25, 1: 25, 2: 25, 3: 25, 4: 20}
    two, options = told(2)
    assert two == one
    assert "one worker does it all, as epochs of by_hand.each end by hand" in sensor("replay", *options).stderr
