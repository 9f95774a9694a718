"""What stands of a capture that is played over a wire and heard live is what stands of its file, by one worker and two.

One is ordinary traffic with a low alert, two are attacks amid ordinary traffic; each is played at its own pace.
"""

import contextlib
import gzip
import struct
from dataclasses import replace

import pytest

from tests.lab.laboratory import need
from tests.lab.sensing import final, sensing
from tests.lab.test_tcpreplay import wait_clear_of_a_pane
from tests.lab.wire import PCAPS, balanced, wire  # noqa: F401 - a fixture
from tests.replaying import replay
from tools.derived import FILE_HEADER, packed, read

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

WORKERS = (1, 2)
WHOLE = struct.pack("<I", 65535)
"""A snaplen: tcpreplay sends no more of a frame than the file says that there may be."""
CAPTURES = ("ordinary/torrent-peers-gone", "attacks/random-scan-amid-web", "attacks/sweep-some-alive")


@pytest.fixture(scope="module", params=CAPTURES)
def heard(request, wire, tmp_path_factory):  # noqa: F811
    """A capture, its frames filled up to their length, and who heard it, by the number of capture workers."""
    need("tcpreplay")
    data = gzip.decompress((PCAPS / f"{request.param}.pcap.gz").read_bytes())
    packets = [replace(each, frame=each.frame.ljust(each.wirelen, b"\0")) for each in read(data)]
    path = tmp_path_factory.mktemp("played") / "played.pcap"
    path.write_bytes(data[:16] + WHOLE + data[20:FILE_HEADER] + b"".join(map(packed, packets)))
    for end in ("near", "far"):
        with wire.route() as route:
            route.link("set", index=route.link_lookup(ifname=end)[0], mtu=65535)
    with contextlib.ExitStack() as stack:
        listens = ("run", "-i", "near", "--json", "--capture-workers")
        sensors = {count: stack.enter_context(sensing(wire.host, *listens, count)) for count in WORKERS}
        wait_clear_of_a_pane((packets[-1].ts - packets[0].ts) / 1e6)
        ran = wire.host.run(["tcpreplay", "--quiet", "--timer=select", "--intf1=far", str(path)])
        assert "Failed packets:            0" in ran.stdout, ran.stdout
        for sensor in sensors.values():
            sensor.end()
        yield path, len(packets), sensors


@pytest.mark.parametrize("workers", WORKERS)
def test_what_stands_live_is_what_stands_of_the_file(heard, workers):
    path, _, sensors = heard
    alone = final(replay(path).alerts)
    assert alone
    assert final([each.record for each in sensors[workers].told]) == alone


@pytest.mark.parametrize("workers", WORKERS)
def test_every_packet_was_heard(heard, workers):
    _, packets, sensors = heard
    summary = sensors[workers].summary
    assert balanced(summary["counters"])
    assert summary["packets_read"] == summary["counters"]["kernel_packets"] == packets
