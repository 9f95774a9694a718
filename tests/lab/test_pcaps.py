"""The captures in pcaps/: each has its expected alerts and its line in the README, and is clean."""

import gzip
import ipaddress
import json
from pathlib import Path

import dpkt
import pytest

PCAPS = Path(__file__).parents[2] / "pcaps"
CAPTURES = sorted(PCAPS.glob("*.pcap"))
COMPRESSED = sorted(PCAPS.glob("*/*.pcap.gz"))
DOCUMENTATION = [
    ipaddress.ip_network(net) for net in ("192.0.2.0/24", "198.51.100.0/24", "203.0.113.0/24", "2001:db8::/32")
]
SAID_TO_ALL = [
    ipaddress.ip_network(net) for net in ("0.0.0.0/32", "255.255.255.255/32", "224.0.0.0/4", "ff02::/16", "::/128")
]
KINDS = {"syn", "connect", "fin", "null", "xmas", "ack", "udp", "random"}

each_capture = pytest.mark.parametrize("capture", CAPTURES, ids=lambda path: path.stem)


def addresses(capture):
    """Every IP address that a packet names as its source or destination, ARP included."""
    found = set()
    with opened(capture) as file:
        for _, data in dpkt.pcap.Reader(file):
            packet = dpkt.ethernet.Ethernet(data).data
            is_arp = isinstance(packet, dpkt.arp.ARP)
            found |= {packet.spa, packet.tpa} if is_arp else {packet.src, packet.dst}
    return {ipaddress.ip_address(address) for address in found}


def opened(capture):
    return gzip.open(capture) if capture.suffix == ".gz" else capture.open("rb")


def packets(capture):
    with opened(capture) as file:
        return sum(1 for _ in dpkt.pcap.Reader(file))


def is_in(address, networks):
    return any(address in network for network in networks if network.version == address.version)


def test_there_are_captures_that_alert_and_captures_that_do_not():
    quiet = [capture for capture in CAPTURES if json.loads(capture.with_suffix(".alerts.json").read_text()) == []]
    assert len(CAPTURES) >= 8
    assert 0 < len(quiet) < len(CAPTURES)


@each_capture
def test_a_capture_states_the_alerts_that_it_raises(capture):
    for alert in json.loads(capture.with_suffix(".alerts.json").read_text()):
        assert set(alert) == {"detection", "kind", "src", "dst", "port"}
        assert alert["kind"] in KINDS
        assert ipaddress.ip_address(alert["src"]) in addresses(capture)


@each_capture
def test_a_capture_has_its_line_in_the_readme(capture):
    assert f"| {capture.name} | {packets(capture)} |" in (PCAPS / "README.md").read_text()


@pytest.mark.parametrize("capture", COMPRESSED, ids=lambda path: path.name)
def test_a_compressed_capture_has_its_line_in_the_readme_of_its_folder(capture):
    line = f"| {capture.name.split('.')[0]} | {packets(capture)} |"
    assert line in (capture.parent / "README.md").read_text()


@pytest.mark.parametrize("capture", CAPTURES + COMPRESSED, ids=lambda path: path.name)
def test_a_capture_names_documentation_addresses_only(capture):
    assert not {address for address in addresses(capture) if not is_in(address, DOCUMENTATION + SAID_TO_ALL)}


def test_every_expectation_belongs_to_a_capture():
    assert {path.name.split(".")[0] for path in PCAPS.glob("*.alerts.json")} == {path.stem for path in CAPTURES}
