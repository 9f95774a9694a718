"""Scenarios of scans, recorded from nmap: each kind of probe, over ports and over hosts, and just under the line.

The scanner is 192.0.2.10; its targets are in 198.51.100.0/24, where one machine answers for every address that is not
silenced. nmap skips its own discovery (-Pn) and leaves ARP to the kernel (--send-ip), so that only the probes are seen.
"""

from collections.abc import Iterable
from ipaddress import ip_network

import services
from lab import Host, Lab
from scenario import Recording, alert, scenario

SCANNER, SCANNER6 = "192.0.2.10", "2001:db8::10"
TARGET, TARGET6 = "198.51.100.20", "2001:db8:0:1::20"
TARGETS, TARGETS6 = "198.51.100.0/24", "2001:db8:0:1::/64"
SERVICES = (22, 80, 110)
NMAP = "nmap -n -Pn --send-ip --disable-arp-ping"


def port_scan(kind: str) -> dict:
    """The alert of a port scan of TARGET."""
    return alert("port_scan", kind, SCANNER, dst=TARGET)


def address_scan(kind: str, port: int) -> dict:
    """The alert of an address scan by SCANNER."""
    return alert("address_scan", kind, SCANNER, port=port)


def networks(lab: Lab, limits_icmp: bool, ports: Iterable[int] = SERVICES, name_server: bool = False) -> Host:
    """The scanner, and a machine that is all of TARGETS and has SERVICES; its ICMP is limited as Linux does, or not."""
    scanner, target = lab.host("scanner", f"{SCANNER}/24"), lab.host("target", "198.51.100.1/24")
    scanner.route(TARGETS)
    target.route("192.0.2.0/24")
    target.answer_for(TARGETS)
    if not limits_icmp:
        target.configure({"ipv4/icmp_ratelimit": "0"})
    services.web(lab, target, ports)
    if name_server:
        services.dns(target, "--address=/example/198.51.100.80")
    return scanner


def networks6(lab: Lab, alive: Iterable[str]) -> Host:
    """The same over IPv6, where the machine has only the addresses that are alive."""
    scanner = lab.host("scanner", f"{SCANNER6}/64")
    target = lab.host("target", *(f"{address}/64" for address in alive))
    scanner.route(TARGETS6)
    target.route("2001:db8::/64")
    services.web(lab, target, SERVICES)
    return scanner


def scan(lab: Lab, recording: Recording, silent: Iterable[str] = (), limits_icmp: bool = True) -> None:
    """Run the scenario's nmap against the networks, where some addresses never answer."""
    scanner = networks(lab, limits_icmp)
    scanner.never_reach(silent)
    with recording.at(scanner):
        scanner.run(recording.argv)


def addresses(first: int, last: int) -> list[str]:
    """The addresses of TARGETS from the first to the last."""
    return [f"198.51.100.{number}" for number in range(first, last + 1)]


@scenario(f"{NMAP} -sS --max-rate 100 -p 1-120 {TARGET}", port_scan("syn"))
def port_scan_syn(lab: Lab, recording: Recording) -> None:
    """A half-open scan of 120 ports of a host: three services, the rest refused."""
    scan(lab, recording)


@scenario(f"{NMAP} -sS --max-retries 1 --max-rtt-timeout 300ms -p 1-120 {TARGET}", port_scan("syn"))
def port_scan_filtered(lab: Lab, recording: Recording) -> None:
    """The same half-open scan where a firewall drops everything: nothing is answered, nmap asks twice."""
    scan(lab, recording, silent=[TARGET])


@scenario(f"{NMAP} -sT --max-rate 100 -p 1-120 {TARGET}", port_scan("connect"))
def port_scan_connect(lab: Lab, recording: Recording) -> None:
    """A scan with connect(), as a user without privileges makes it: the kernel's own SYNs, services reset at once."""
    scan(lab, recording)


@scenario(f"{NMAP} -sF --max-rate 100 -p 1-100 {TARGET}", port_scan("fin"))
def port_scan_fin(lab: Lab, recording: Recording) -> None:
    """A FIN to each of 100 ports that no connection was opened to: closed ones reset, services stay silent."""
    scan(lab, recording)


@scenario(f"{NMAP} -sN --max-rate 100 -p 1-100 {TARGET}", port_scan("null"))
def port_scan_null(lab: Lab, recording: Recording) -> None:
    """Segments without any flag to 100 ports: closed ones reset, services stay silent."""
    scan(lab, recording)


@scenario(f"{NMAP} -sX --max-rate 100 -p 1-100 {TARGET}", port_scan("xmas"))
def port_scan_xmas(lab: Lab, recording: Recording) -> None:
    """Segments with FIN, PSH and URG to 100 ports: closed ones reset, services stay silent."""
    scan(lab, recording)


@scenario(f"{NMAP} -sA --max-rate 100 -p 1-100 {TARGET}", port_scan("ack"))
def port_scan_ack(lab: Lab, recording: Recording) -> None:
    """ACKs of no connection to 100 ports, to map a firewall's rules: every one is reset."""
    scan(lab, recording)


@scenario(f"{NMAP} -sU --max-retries 1 --min-rate 25 -p 100-149 {TARGET}", port_scan("udp"), snaplen=256)
def port_scan_udp(lab: Lab, recording: Recording) -> None:
    """Datagrams to 50 ports: some unreachable, most unanswered, as the host limits the rate of its ICMP errors."""
    scan(lab, recording)


@scenario(f"{NMAP} -f -sS --max-rate 100 -p 1-60 {TARGET}", port_scan("syn"))
def port_scan_fragmented(lab: Lab, recording: Recording) -> None:
    """A half-open scan in IP fragments of 8 bytes, so that no first fragment holds a whole TCP header."""
    scan(lab, recording)


@scenario(f"{NMAP} -6 -sS --max-rate 100 -p 1-100 {TARGET6}", alert("port_scan", "syn", SCANNER6, dst=TARGET6))
def port_scan_ipv6(lab: Lab, recording: Recording) -> None:
    """A half-open scan of 100 ports of a host over IPv6."""
    scanner = networks6(lab, [TARGET6])
    with recording.at(scanner):
        scanner.run(recording.argv)


@scenario(f"{NMAP} -sS --max-rate 100 -p 101-114 {TARGET}")
def port_scan_under_the_line(lab: Lab, recording: Recording) -> None:
    """A half-open scan of 14 ports of one host, all but one refused: one fewer than makes a scan."""
    scan(lab, recording)


@scenario(f"{NMAP} -sS --max-rate 100 --max-retries 1 -p 22 198.51.100.1-64", address_scan("syn", 22))
def address_scan_syn(lab: Lab, recording: Recording) -> None:
    """Someone looks for SSH on 64 hosts: six have it, 58 do not answer."""
    scan(lab, recording, silent=addresses(7, 64))


@scenario(f"{NMAP} -sT --max-rate 100 -p 23 198.51.100.1-60", address_scan("connect", 23))
def address_scan_connect(lab: Lab, recording: Recording) -> None:
    """Someone looks for Telnet on 60 hosts with connect(): all refuse."""
    scan(lab, recording)


@scenario(f"{NMAP} -sU --max-retries 1 --min-rate 25 -p 161 198.51.100.1-40", address_scan("udp", 161), snaplen=256)
def address_scan_udp(lab: Lab, recording: Recording) -> None:
    """Someone looks for SNMP on 40 hosts: ten say that the port is unreachable, 30 do not answer."""
    scan(lab, recording, silent=addresses(11, 40), limits_icmp=False)


@scenario(
    f"{NMAP} -6 -sS --max-rate 100 --max-retries 1 -p 22 2001:db8:0:1::/122",
    alert("address_scan", "syn", SCANNER6, port=22),
)
def address_scan_ipv6(lab: Lab, recording: Recording) -> None:
    """Someone looks for SSH on 64 addresses over IPv6: four have it, 60 do not answer."""
    alive = [f"2001:db8:0:1::{number:x}" for number in (1, 2, 16, 32)]
    scanner = networks6(lab, alive)
    everyone = {str(address) for address in ip_network("2001:db8:0:1::/122")}
    scanner.never_reach(sorted(everyone - set(alive)))
    with recording.at(scanner):
        scanner.run(recording.argv)


@scenario(f"{NMAP} -sS --max-rate 100 --max-retries 1 -p 22 198.51.100.1-24")
def address_scan_under_the_line(lab: Lab, recording: Recording) -> None:
    """24 hosts that do not answer on SSH: one fewer than makes a scan."""
    scan(lab, recording, silent=addresses(1, 24))


@scenario(
    f"{NMAP} -sS --max-rate 400 --max-retries 0 -p 1-30 198.51.100.101-130",
    alert("random_scan", "random", SCANNER),
    snaplen=64,
)
def random_scan(lab: Lab, recording: Recording) -> None:
    """30 ports of 30 hosts in the order that nmap chooses: ten hosts refuse, 20 do not answer; one scan, not sixty."""
    scan(lab, recording, silent=addresses(111, 130))
