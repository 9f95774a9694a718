"""Scans by probes that begin no connection, from the ports that servers answer from."""

from collections.abc import Callable

from lab import Lab
from scans import NMAP, SCANNER, TARGET
from scenario import Recording, attack, graded

from attacks.scanner import port_scan, run

FLAGS = {"ack": "-sA", "fin": "-sF", "null": "-sN", "xmas": "-sX"}
ODD = {"maimon": "-sM", "urg": "-sF --scanflags URG", "psh": "-sF --scanflags PSH", "finpsh": "-sF --scanflags FINPSH"}


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
            graded("low" if flag == "ack" else "medium", "port_scan", flag, SCANNER, TARGET),
        )(named(f"{flag}_scan_from_{port}", f"A scan of 40 ports with {flag.upper()} probes from source port {port}."))

for flag, option in ODD.items():
    attack(
        f"{NMAP} {option} --max-rate 100 -p 1-40 {TARGET}",
        "No connection begins with such flags: whatever they are, they look for what answers.",
        port_scan(None),
    )(named(f"{flag}_scan", f"A scan of 40 ports with the flags {flag.upper()} alone."))
