"""Scans amid the ordinary traffic of the same source."""

import services
from lab import Lab
from ordinary.network import CLIENT, far, for_each, near, outside
from ordinary.wan import gateway, visits
from scans import NMAP, SCANNER, TARGET, addresses, networks
from scenario import Recording, attack, graded

from attacks.scanner import address_scan, port_scan, some_address_scan

FETCH = "curl -sS -o /dev/null -m 4"


@attack(
    f"curl (300 visits to live hosts); {NMAP} -sS -p 445 198.51.100.201-230",
    "What works on port 80 says nothing of port 445: thirty hosts were tried there, and none is alive.",
    address_scan("syn", 445),
    snaplen=64,
)
def dead_445_amid_web(lab: Lab, recording: Recording) -> None:
    """30 hosts that never answer are tried on port 445 by one who makes 300 visits to web servers meanwhile."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(201, 230))
    urls = [f"http://198.51.100.{n % 150 + 1}/" for n in range(300)]
    with recording.at(scanner):
        visiting = scanner.popen(for_each(urls, FETCH + " $1", at_once=4))
        scanner.run([*NMAP.split(), "-sS", "--max-rate", "20", "--max-retries", "1", "-p", "445", "198.51.100.201-230"])
        visiting.wait(timeout=60)


@attack(
    f"curl, dig (24 users behind a NAT: 200 visits, 400 questions); {NMAP} -sS -p 1-60 203.0.113.99",
    "What a NAT's users reach elsewhere says nothing of sixty closed ports of one host.",
    graded("medium", "port_scan", "syn", CLIENT, dst="203.0.113.99"),
    snaplen=64,
)
def port_scan_behind_nat(lab: Lab, recording: Recording) -> None:
    """One of 24 users behind one address scans 60 ports of a host; the others have 600 exchanges that work."""
    world = outside(lab)
    services.web(lab, world, [80, 443])
    services.dns(world, "--address=/example/198.51.100.80")
    router, house = gateway(lab)
    sites = [*near(1, 100), *far(1, 100)]
    ask = FETCH + " $1; dig +short @198.51.100.53 www.example; dig +short @203.0.113.53 www.example"
    with recording.at(router):
        visiting = house.popen(for_each(visits(sites, [80, 443]), ask, at_once=4))
        house.run([*NMAP.split(), "-sS", "--max-rate", "20", "-p", "1-60", "203.0.113.99"])
        visiting.wait(timeout=60)


@attack(
    f"curl (50 hosts); {NMAP} -sS -p 22 198.51.100.101-145",
    "Visits to the web between the probes are camouflage.",
    address_scan("syn", 22),
    snaplen=64,
)
def scan_mixed_with_visits(lab: Lab, recording: Recording) -> None:
    """45 hosts that never answer are tried on port 22 by one who visits 50 web servers meanwhile."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(101, 145))
    with recording.at(scanner):
        visiting = scanner.popen(
            for_each([f"http://{a}/" for a in addresses(1, 50)], FETCH + " $1; sleep 0.3", at_once=4)
        )
        scanner.run([*NMAP.split(), "-sS", "--max-rate", "20", "--max-retries", "1", "-p", "22", "198.51.100.101-145"])
        visiting.wait(timeout=60)


@attack(
    f"curl (30 hosts); {NMAP} -sS -p 80 198.51.100.101-200",
    "Thirty hosts that answered do not outweigh a hundred that did not, on the same port.",
    some_address_scan(80),
    snaplen=64,
)
def sweep_after_visits(lab: Lab, recording: Recording) -> None:
    """30 web servers are visited, then 100 hosts that never answer are tried on port 80."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(101, 200))
    with recording.at(scanner):
        scanner.run(for_each([f"http://{a}/" for a in addresses(1, 30)], FETCH + " $1"))
        scanner.run([*NMAP.split(), "-sS", "--max-rate", "50", "--max-retries", "1", "-p", "80", "198.51.100.101-200"])


@attack(
    f"for port in 1 ... 57; do echo > /dev/tcp/{TARGET}/$port; done; curl (60 visits)",
    "A loop in a shell is a scanner too, between the pages that its user reads.",
    port_scan("connect"),
    snaplen=64,
)
def shell_loop(lab: Lab, recording: Recording) -> None:
    """57 ports of a host by a loop in bash, one each fifth of a second, amid visits to 60 web servers."""
    scanner = networks(lab, limits_icmp=False)
    loop = f"for port in $(seq 57); do (exec 3<>/dev/tcp/{TARGET}/$port) 2>/dev/null; sleep 0.2; done"
    with recording.at(scanner):
        visiting = scanner.popen(
            for_each([f"http://{a}/" for a in addresses(101, 160)], FETCH + " $1; sleep 0.5", at_once=3)
        )
        scanner.run(["bash", "-c", loop], check=False)
        visiting.wait(timeout=60)


@attack(
    f"curl (60 hosts); {NMAP} -sS -p 21-30 198.51.100.201-220",
    "Pages that work do not explain two hundred pairs of host and port that do not.",
    graded("high", "random_scan", "random", SCANNER),
    snaplen=64,
)
def random_scan_amid_web(lab: Lab, recording: Recording) -> None:
    """Ten ports of 20 hosts are tried, half of which refuse, by one who visits 60 web servers meanwhile."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(211, 220))
    with recording.at(scanner):
        visiting = scanner.popen(for_each([f"http://{a}/" for a in addresses(1, 60)], FETCH + " $1", at_once=2))
        scan = ["-sS", "--max-rate", "50", "--max-retries", "0", "-p", "21-30", "198.51.100.201-220"]
        scanner.run([*NMAP.split(), *scan])
        visiting.wait(timeout=60)
