"""`compat="zeek"` fires one level an observation, whether from a file or a pipe, and however many workers there are."""

import json
import textwrap

import pytest
from scapy.layers.inet import IP, UDP
from scapy.packet import Raw

from tests.replaying import ETHER, sensor, write

LEVELS = (3, 6, 800, 900, 5000)

SERIES = f"""
    from sensor.detection import Alert, Average, Detection, Stream, Sum, SumStat

    class Series(Detection):
        "Tells each level that what a host sends comes to. Misses what is slow."
        requests = Stream("udp_request", key="orig_h")
        sent = SumStat(epoch="1m", compat="zeek", total=Sum(requests, of="orig_bytes"))
        typical = SumStat(epoch="1m", compat="zeek", mean=Average(requests, of="orig_bytes"))

        @sent.crosses(total={LEVELS})
        def came_to(self, key, seen):
            return Alert(f"level {{seen.level}}")

        @typical.crosses(mean=500)
        def was_large(self, key, seen):
            return Alert("large")
"""


def requests(host, sizes):
    """Flows of one request each, all of one host, seconds apart."""
    for at, size in enumerate(sizes):
        udp = UDP(sport=20000 + at, dport=5000 + at)
        yield 1 + 2 * at + host % 2, ETHER / IP(src=f"10.0.0.{host}", dst=f"10.1.0.{at + 1}") / udp / Raw(bytes(size))


def standing(ran):
    """The levels that stand, by source: those that were told and not withdrawn."""
    assert ran.returncode == 0, ran.stderr
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    gone = {line["id"] for line in lines if line["event_type"] == "alert_update" and line["state"] == "withdrawn"}
    alerts = [line for line in lines if line["event_type"] == "alert" and line["id"] not in gone]
    return sorted((line["src"], line["message"], line["threshold"]) for line in alerts)


@pytest.mark.parametrize("workers", [1, 2, 4])
@pytest.mark.parametrize("piped", [False, True])
def test_a_leap_fires_one_level_an_observation(tmp_path, workers, piped):
    sizes = {1: [1, 1001, 1], 2: [1, 1, 1, 1, 1, 1], 3: [1001], 4: [1, 1, 900, 1, 1, 1, 1, 1], 5: [600, 1, 1]}
    plugin, path = tmp_path / "series.py", tmp_path / "sent.pcap"
    plugin.write_text(textwrap.dedent(SERIES))
    write(path, sorted((each for host in sizes for each in requests(host, sizes[host])), key=lambda each: each[0]))
    command = "replay", "--json", "--workers", workers, "--plugin", plugin, "--detection", "series"
    if piped:
        with path.open("rb") as stdin:
            ran = sensor(*command, "-", stdin=stdin)
    else:
        ran = sensor(*command, path)
    fired = {host: levels_after(own) for host, own in sizes.items()}
    expected = [(f"10.0.0.{host}", f"level {at}", LEVELS[at]) for host, count in fired.items() for at in range(count)]
    large = [(f"10.0.0.{host}", "large", 500) for host, own in sizes.items() if was_large(own)]
    assert standing(ran) == sorted(expected + large)


def levels_after(sizes):
    """How many levels have fired after observations in this order."""
    count, total = 0, 0
    for size in sizes:
        total += size
        count += count < len(LEVELS) and total >= LEVELS[count]
    return count


def was_large(sizes):
    """Whether the average came to 500 at any time."""
    return any(sum(sizes[: at + 1]) / (at + 1) >= 500 for at in range(len(sizes)))
