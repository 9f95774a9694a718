"""Fixing: runs those of the mending commands that are safe, as the user it is, and tells of each before."""

import contextlib
import os
import select
import subprocess
from collections.abc import Callable, Sequence

from sensor.capture.live.interfaces import list_interfaces
from sensor.capture.live.link_watch import LinkWatch
from sensor.clock import elapsed_s
from sensor.node.doctor import links
from sensor.node.doctor.check import Mend, State

_PACKAGES = {"ip": "iproute2", "ethtool": "ethtool"}
_COMMAND_S = 30.0
_LINK_S = 5.0  # for a link to come up: autonegotiation takes one to three
Tell = Callable[[str], None]


def fix(interfaces: Sequence[str], tell: Tell) -> None:
    """Bring up the interfaces that are down, and switch off what joins frames; `tell` is told, also of failures."""
    present = {each.name: each for each in list_interfaces()}
    for name in links.named(interfaces, present.values()):
        if name in present:
            if _run(links.judge_link(name, present[name]).mend, tell):
                _wait_for_link(name)
            _run(links.judge_offloads(present[name]).mend, tell)


def _run(mend: Mend | None, tell: Tell) -> bool:
    """Run a command if it is a safe one; whether it did what it should."""
    if mend is None or not mend.is_safe:
        return False
    program = mend.argv[0]
    tell(f"running: {' '.join(mend.argv)}")
    environment = os.environ | {"PATH": os.environ.get("PATH", "") + ":/usr/sbin:/sbin"}  # where users have no path to
    try:
        ran = subprocess.run(
            mend.argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=_COMMAND_S, env=environment
        )
    except FileNotFoundError:
        tell(f"{program} is not installed: apt install {_PACKAGES[program]}")
    except (OSError, subprocess.TimeoutExpired) as error:
        tell(f"{program}: {error}")
    else:
        if not ran.returncode:
            return True
        said = ran.stderr.strip().replace("\n", "; ") or f"it ended with {ran.returncode}"
        tell(f"{program} failed: {said}{f'; try `{mend}`' if os.geteuid() else ''}")
    return False


def _wait_for_link(name: str) -> None:
    until = elapsed_s() + _LINK_S
    with contextlib.closing(LinkWatch()) as watch:
        while (left := until - elapsed_s()) > 0:
            found = next((each for each in list_interfaces() if each.name == name), None)
            if found is None or links.judge_link(name, found).state is State.OK:
                return
            select.select([watch], [], [], left)
            watch.read()
