"""What these scenarios share: the alerts of the scanner, and the run of its command."""

from lab import Lab
from scans import SCANNER, TARGET, networks
from scenario import Recording, graded


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
