"""Real scans of real servers are told within two seconds of the packet that makes them scans; all else is not told.

Everything happens at once, on one switch, whose bridge is the span port: `sensor run` and tcpdump read it side by side.
Which packet is the one that makes a scan is found out twice in what tcpdump wrote: by counting refusals here, and by
the time of the alert of `sensor replay -`. A host that never answers, or that refuses a datagram, is a failure once the
wait for more (flows.tcp_attempt, here a second) is over: until then no one can know, so that the time runs from there.
"""

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

from tests.lab.attacks import ATTACKS, CLOSED, SERVERS, SILENT, WAIT_S, ip_packets, threshold_ns
from tests.lab.laboratory import lab, need, services, why_no_lab
from tests.lab.sensing import sensing
from tests.lab.wire import balanced
from tests.replaying import sensor as sensor_process

pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")

WITHIN_NS = 2_000_000_000
SNAPLEN = 160
CLIENT, RESOLVER = "192.0.2.20", "192.0.2.53"
NAMES = [f"name{number:02}.example" for number in range(60)]
EVERYDAY = """
exec > /dev/null
ping -c 3 -i 0.2 198.51.100.1
dig @{resolver} {names}
dig @{resolver} +tcp {names}
dig @{resolver} AAAA no1.example no2.example no3.example
for n in $(seq 12); do curl -sSk http://198.51.100.$n/ http://198.51.100.$n/picture.png https://198.51.100.$n/; done
curl -sS http://198.51.100.1/absent http://203.0.113.80/ || true
for n in $(seq 6); do curl -sS http://198.51.100.80/archive/package$n.deb; done
for n in $(seq 4); do ssh {options} root@198.51.100.22 'uname; seq 100'; done
scp {options} {folder}/index.html root@198.51.100.22:{folder}/copy
"""
"""What a person and a machine do all day: none of it is a scan, some of it fails."""


@dataclass(frozen=True)
class Heard:
    """What came of a run: from the sensor, and from tcpdump beside it."""

    told: list
    """The alerts."""
    summary: dict
    savefile: Path
    packets: list
    """The savefile's IPv4 packets, each with its time (ns)."""


@pytest.fixture(scope="module")
def heard(tmp_path_factory):
    """All attacks and everyday traffic at once."""
    if reason := why_no_lab():
        pytest.skip(reason)
    need("nmap", "hping3", "ssh", "sshd", "nginx", "openssl", "dnsmasq", "dig", "curl", "ping", "tcpdump")
    savefile = tmp_path_factory.mktemp("span") / "span.pcap"
    with lab.Lab() as net:
        errands = everyday(net)
        scanners = {attack.scanner: scanner(net, attack.scanner) for attack in ATTACKS.values()}
        span = net.switch("lan")
        options = ("--set", f"flows.tcp_attempt={WAIT_S}s")
        with sensing(span, "run", "-i", "bridge", "--json", *options) as sensor:
            with (
                span.capture(savefile, snaplen=SNAPLEN, interface="bridge"),
                ThreadPoolExecutor(len(ATTACKS) + 1) as pool,
            ):
                runs = [pool.submit(errands)]
                runs += [pool.submit(run, scanners[each.scanner], each.command) for each in ATTACKS.values()]
                for each in runs:
                    each.result()
            sensor.wait_for(lambda: len(sensor.alerts) >= len(ATTACKS))
            sensor.end()
        told = [each for each in sensor.told if each.record["event_type"] == "alert"]
        yield Heard(told, sensor.summary, savefile, ip_packets(savefile))


def everyday(net):
    """The servers, and a client on its errands: call it to run them."""
    client, servers = net.host("client", f"{CLIENT}/24"), net.host("servers", "198.51.100.254/24")
    closed = net.host("closed", "203.0.113.254/24")
    for host, prefix in ((servers, SERVERS), (closed, CLOSED)):
        host.route("192.0.2.0/24")
        host.answer_for(prefix)
        host.configure({"ipv4/icmp_ratelimit": "0"})
        client.route(prefix)
    folder = services.web(net, servers, [80], tls=[443])
    (folder / "archive").mkdir()
    for number in range(1, 7):
        (folder / "archive" / f"package{number}.deb").write_bytes(bytes(500_000))
    options = services.ssh(net, servers)
    resolver = net.host("resolver", f"{RESOLVER}/24")
    services.dns(resolver, "--local=/example/", *(f"--host-record={name},198.51.100.1" for name in NAMES))
    script = EVERYDAY.format(resolver=RESOLVER, names=" ".join(NAMES), options=" ".join(options), folder=folder)
    return lambda: client.run(["sh", "-ec", script])


def scanner(net, address):
    host = net.host(f"scanner-{address.split('.')[-1]}", f"{address}/24")
    for prefix in (SERVERS, CLOSED):
        host.route(prefix)
    host.never_reach([SILENT])
    return host


def run(host, command):
    host.run(["sh", "-c", command], check=False)


def ns(rfc3339):
    return round(datetime.fromisoformat(rfc3339).timestamp() * 1e6) * 1000


def about(record):
    return tuple(record[name] for name in ("detection", "kind", "src", "dst", "port"))


def test_each_attack_is_told_and_nothing_else(heard):
    told = [about(each.record) for each in heard.told]
    assert sorted(told, key=str) == sorted((attack.alert for attack in ATTACKS.values()), key=str)


def test_nothing_was_lost_meanwhile(heard):
    counters = heard.summary["counters"]
    assert balanced(counters) and (counters["ring_drops"], counters["gaps"]) == (0, 0)
    assert heard.summary["packets_read"] > len(heard.packets)  # what is no IPv4, above all


@pytest.fixture(scope="module")
def replayed(heard):
    """The alerts of the recorded file, told at once as of what comes from a pipe."""
    with heard.savefile.open("rb") as file:
        ran = sensor_process("replay", "--json", "--set", f"flows.tcp_attempt={WAIT_S}s", "-", stdin=file)
    records = [json.loads(line) for line in ran.stdout.splitlines()]
    return [each for each in records if each["event_type"] == "alert"]


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_told_within_two_seconds_of_the_packet_that_makes_it_one(heard, replayed, name):
    attack = ATTACKS[name]
    knowable = threshold_ns(heard.packets, attack)
    [alert] = [each for each in heard.told if about(each.record) == attack.alert]
    [same] = [each for each in replayed if about(each) == attack.alert]
    assert (same["value"], ns(same["ts"])) == (attack.threshold, knowable)
    assert abs(ns(alert.record["ts"]) - knowable) < 1_000_000  # the kernel may stamp each reader's copy by itself
    assert 0 <= alert.at - knowable <= WITHIN_NS
