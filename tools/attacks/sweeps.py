"""Scans of one port of many hosts or of many ports of one, where hosts answer, or in ways that pollers use."""

from lab import Lab
from ordinary.network import firewall, for_each
from scans import NMAP, SCANNER, TARGET, addresses, networks
from scenario import Recording, attack, graded

from attacks.scanner import address_scan, port_scan, run, some_address_scan


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
    graded("low", "port_scan", "version", SCANNER, TARGET),
)
def version_scan(lab: Lab, recording: Recording) -> None:
    """A version scan of ten open ports."""
    scanner = networks(lab, limits_icmp=False, ports=range(8001, 8011))
    with recording.at(scanner):
        scanner.run(recording.argv, timeout=120)


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


@attack(
    f"dig @HOST (30 hosts); {NMAP} -sU -p 53 198.51.100.101-200",
    "Thirty name servers that answered do not outweigh a hundred that did not.",
    graded(None, "address_scan", "udp", SCANNER, port=53),
    snaplen=128,
)
def dns_sweep_after_answers(lab: Lab, recording: Recording) -> None:
    """30 name servers are asked and answer, then 100 hosts that never do are tried on UDP 53."""
    scanner = networks(lab, limits_icmp=False, name_server=True)
    scanner.never_reach(addresses(101, 200))
    scan = ["-sU", "--max-rate", "50", "--max-retries", "1", "-p", "53", "198.51.100.101-200"]
    with recording.at(scanner):
        scanner.run(for_each(addresses(1, 30), "dig +short @$1 www.example", at_once=4))
        scanner.run([*NMAP.split(), *scan])
