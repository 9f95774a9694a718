"""Scenarios of the attacks that resemble ordinary traffic most: recorded to pcaps/attacks/ by `tools/record NAME`.

As in scans.py the scanner is 192.0.2.10 and one machine is all of 198.51.100.0/24, but for what is silenced.
"""

from collections.abc import Callable

import services
from lab import Lab
from ordinary.network import CLIENT, far, firewall, for_each, near, outside
from ordinary.wan import gateway, visits
from scans import NMAP, SCANNER, TARGET, addresses, networks
from scenario import Recording, attack, graded

FETCH = "curl -sS -o /dev/null -m 4"
FLAGS = {"ack": "-sA", "fin": "-sF", "null": "-sN", "xmas": "-sX"}
ODD = {"maimon": "-sM", "urg": "-sF --scanflags URG", "psh": "-sF --scanflags PSH", "finpsh": "-sF --scanflags FINPSH"}


def port_scan(kind: str | None) -> dict:
    """The alert of a port scan of TARGET; of no kind where any will do."""
    return graded("medium", "port_scan", kind, SCANNER, dst=TARGET)


def address_scan(kind: str | None, port: int) -> dict:
    """The alert of an address scan by SCANNER."""
    return graded("medium", "address_scan", kind, SCANNER, port=port)


def some_address_scan(port: int) -> dict:
    """The same, of whatever severity: what works besides, or is repeated, may lower it."""
    return graded(None, "address_scan", "syn", SCANNER, port=port)


def run(lab: Lab, recording: Recording) -> None:
    """Run the scenario's command against the networks, whose ICMP is not limited."""
    scanner = networks(lab, limits_icmp=False)
    with recording.at(scanner):
        scanner.run(recording.argv, timeout=120)


def named(name: str, story: str) -> Callable[[Lab, Recording], None]:
    """`run`, under a name and with a story of its own."""

    def play(lab: Lab, recording: Recording) -> None:
        run(lab, recording)

    play.__name__, play.__doc__ = name, story
    return play


for flag, option in FLAGS.items():
    for port in (53, 80, 443):
        attack(
            f"{NMAP} {option} -g {port} --max-rate 100 -p 2001-2040 {TARGET}",
            "A known port that a scan comes from does not make answers of its probes: nothing asked for them.",
            port_scan(flag),
        )(named(f"{flag}_scan_from_{port}", f"A scan of 40 ports with {flag.upper()} probes from source port {port}."))

for flag, option in ODD.items():
    attack(
        f"{NMAP} {option} --max-rate 100 -p 1-40 {TARGET}",
        "No connection begins with such flags: whatever they are, they look for what answers.",
        port_scan(None),
    )(named(f"{flag}_scan", f"A scan of 40 ports with the flags {flag.upper()} alone."))


@attack(
    f"{NMAP} -sY --max-rate 100 --max-retries 1 -p 1-40 {TARGET}",
    "A port scan is one in SCTP too.",
    port_scan(None),
)
def sctp_scan(lab: Lab, recording: Recording) -> None:
    """A scan of 40 ports with SCTP's INIT; the host has no SCTP and says so."""
    run(lab, recording)


@attack(
    f"{NMAP} -sO --max-rate 50 --max-retries 1 -p 2-5,7-16,18-57 {TARGET}",
    "Who tries protocol after protocol on a host looks for what it speaks.",
    port_scan(None),
)
def protocol_scan(lab: Lab, recording: Recording) -> None:
    """A scan of 54 protocols of a host: each is unreachable, or not answered."""
    run(lab, recording)


@attack(
    f"{NMAP} -sV --version-light -p 8001-8010 {TARGET}",
    "Ten open services are asked what they are, each in ways that its own clients never use.",
    port_scan(None),
)
def version_scan(lab: Lab, recording: Recording) -> None:
    """A version scan of ten open ports."""
    scanner = networks(lab, limits_icmp=False, ports=range(8001, 8011))
    with recording.at(scanner):
        scanner.run(recording.argv, timeout=120)


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
    "hping3 -S -p 22 -c 1 198.51.100.1 ... 198.51.100.45 (nftables drops the scanner's RSTs)",
    "An answer alone is no use of a service: nothing was said to any of these hosts.",
    address_scan("syn", 22),
    snaplen=64,
)
def sweep_without_resets(lab: Lab, recording: Recording) -> None:
    """A SYN to port 22 of 45 hosts; 15 never answer, 30 do, and hear no more of the scanner."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(31, 45))
    firewall(scanner, "tcp flags rst drop", hook="output")
    with recording.at(scanner):
        scanner.run(for_each(addresses(1, 45), "timeout 1 hping3 -q -S -p 22 -c 1 $1", at_once=3))
        scanner.run(["sleep", "8"])


@attack(
    f"{NMAP} -sS -p 22 198.51.100.101-130 (five times)",
    "That a list is asked again and again makes no monitoring of it: the first round was a search.",
    some_address_scan(22),
)
def repeated_sweep(lab: Lab, recording: Recording) -> None:
    """30 hosts that never answer are tried on port 22, and the list four times more."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(101, 130))
    sweep = [*NMAP.split(), "-sS", "--max-rate", "50", "--max-retries", "0", "-p", "22", "198.51.100.101-130"]
    with recording.at(scanner):
        for _ in range(5):
            scanner.run(sweep)
            scanner.run(["sleep", "10"])


@attack(
    f"{NMAP} -sS -p 22 198.51.100.1-100",
    "A third of the hosts have the service: the scanner drops each as soon as it answers.",
    address_scan("syn", 22),
    snaplen=64,
)
def sweep_some_alive(lab: Lab, recording: Recording) -> None:
    """100 hosts are tried on port 22; 30 answer, 70 never do."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(31, 100))
    with recording.at(scanner):
        scanner.run([*NMAP.split(), "-sS", "--max-rate", "50", "--max-retries", "1", "-p", "22", "198.51.100.1-100"])


@attack(
    f"{NMAP} -sU -g 40000 --max-retries 1 --min-rate 25 -p 40-89 {TARGET}",
    "All probes come from one socket, and one of them is answered: the others remain probes.",
    port_scan("udp"),
    snaplen=128,
)
def udp_scan_one_socket(lab: Lab, recording: Recording) -> None:
    """50 UDP ports from one source port; a name server on one of them answers, the rest are unreachable."""
    scanner = networks(lab, limits_icmp=False, name_server=True)
    with recording.at(scanner):
        scanner.run(recording.argv)


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
    f"{NMAP} -sS --max-rate 50 -p 80 198.51.100.1-60",
    "That every host has the service makes it no less a search: the scanner asks each once, and uses none.",
    address_scan("syn", 80),
)
def sweep_all_open(lab: Lab, recording: Recording) -> None:
    """60 hosts are tried on port 80; all of them answer, and are dropped."""
    run(lab, recording)


@attack(
    f"{NMAP} -sT --max-rate 50 -p 8001-8024 {TARGET}",
    "Open ports that are opened and left are looked for, not used; no one announced them.",
    port_scan("connect"),
)
def port_scan_all_open(lab: Lab, recording: Recording) -> None:
    """24 open ports of a host are connected to and left."""
    scanner = networks(lab, limits_icmp=False, ports=range(8001, 8025))
    with recording.at(scanner):
        scanner.run(recording.argv)


@attack(
    f"{NMAP} -sS -g 20 --max-rate 100 -p 1001-1040 {TARGET}",
    "Port 20 is where active FTP comes from, but the target asked for nothing by FTP.",
    port_scan("syn"),
)
def syn_scan_from_20(lab: Lab, recording: Recording) -> None:
    """A half-open scan of 40 ports from source port 20."""
    run(lab, recording)


@attack(
    f"{NMAP} -sU -g 53 --max-retries 1 --min-rate 25 -p 100-149 {TARGET}",
    "Port 53 is where answers come from, but the target asked for nothing.",
    port_scan("udp"),
    snaplen=128,
)
def udp_scan_from_53(lab: Lab, recording: Recording) -> None:
    """50 UDP ports from source port 53; each is unreachable."""
    run(lab, recording)


@attack(
    f"{NMAP} -sU -g 40000 --max-retries 1 --min-rate 25 -p 161 198.51.100.1-45",
    "A poller's one socket, but of these hosts nearly none was ever polled with success.",
    address_scan("udp", 161),
    snaplen=128,
)
def snmp_sweep_one_socket(lab: Lab, recording: Recording) -> None:
    """45 hosts are asked by SNMP from one socket: ten say that the port is unreachable, 35 never answer."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(11, 45))
    with recording.at(scanner):
        scanner.run(recording.argv)


@attack(
    f"{NMAP} -sU --max-retries 1 --min-rate 25 -p 443 198.51.100.1-45",
    "A browser that tries HTTP/3 in vain goes on by TCP; whoever sweeps UDP 443 does not.",
    address_scan("udp", 443),
    snaplen=128,
)
def quic_sweep(lab: Lab, recording: Recording) -> None:
    """45 hosts are tried on UDP 443: none answers."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(1, 45))
    with recording.at(scanner):
        scanner.run(recording.argv)


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


@attack(
    "hping3 -2 -p 514 -c 1 198.51.100.1 ... 198.51.100.45",
    "One datagram each to many hosts is no stream: it looks for who takes it.",
    address_scan("udp", 514),
)
def syslog_sweep(lab: Lab, recording: Recording) -> None:
    """A datagram to port 514 of 45 hosts, of which none answers."""
    scanner = networks(lab, limits_icmp=False)
    scanner.never_reach(addresses(1, 45))
    with recording.at(scanner):
        scanner.run(for_each(addresses(1, 45), "timeout 1 hping3 -q -2 -p 514 -c 1 $1", at_once=6))
