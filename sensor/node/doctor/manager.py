"""The manager: whether it can be reached, by whatever this host shows there."""

import errno
from dataclasses import dataclass
from pathlib import Path

from sensor.bus.endpoint import BusError, Endpoint
from sensor.node.doctor.check import Check, Mend, State, sensor_command
from sensor.node.manager_address import ManagerAddress, credentials, local_socket
from sensor.node.observer import ask_status
from sensor.pki.credentials import CredentialsError

NAME = "manager"
_REFUSED = f"[Errno {errno.ECONNREFUSED}]"
_WORKER = "the certificate is of worker "


@dataclass(frozen=True)
class Answer:
    """The answer of a manager to a status request."""

    address: str = ""
    """Where; empty: there is none to ask."""
    version: str = ""
    """Its version; empty: it did not say."""
    failure: str = ""
    """Why it did not answer; empty, without a version: it was silent."""
    start: tuple[str, ...] = ()
    """The command that starts one there, where that is on this host."""
    is_forbidden: bool = False

    @classmethod
    def find(cls, address: str | None, state: Path) -> "Answer":
        """Ask the one at an address, or else that of the cluster which the `state` folder is of, if it is of one."""
        try:
            if address is None and credentials(state) is None:
                return cls()
            return cls._ask(ManagerAddress.find(address, state), state)
        except PermissionError as error:
            reason = f"{error.filename} may not be read: run this as its owner"
            return cls(address or str(state), failure=reason, is_forbidden=True)
        except (BusError, CredentialsError, ImportError, OSError) as error:
            return cls(address or str(state), failure=str(error))

    @classmethod
    def _ask(cls, manager: ManagerAddress, state: Path) -> "Answer":
        try:
            return cls(manager.address, ask_status(manager).version)
        except TimeoutError as error:
            reason = "nobody listens there" if str(error).startswith(_REFUSED) else str(error)
        is_of_state = manager.address == local_socket(state)
        where = ("--state", str(state)) if is_of_state else ("--listen", manager.address)
        start = sensor_command("manager", *where) if Endpoint.parse(manager.address).is_local else ()
        return cls(manager.address, failure="" if reason == "TimeoutError" else reason, start=start)


def judge(found: Answer, own_version: str) -> Check:
    """The check. A manager tells a worker's host only that its certificate is a worker's, which is all that is asked.

    A worker's hello would take the place of the worker that may be running here.
    """
    if not found.address:
        return Check(NAME, State.SKIPPED, "this host has joined no cluster, and no --manager is given")
    if found.is_forbidden:
        return Check(NAME, State.SKIPPED, found.failure, is_forbidden=True)
    if found.failure.startswith(_WORKER):
        return Check(NAME, State.OK, f"reached at {found.address}; it takes this host's certificate")
    if not found.version:
        mend = Mend(found.start, needs_root=False) if found.start else None
        return Check(NAME, State.FAILED, f"{found.address}: {found.failure or 'it does not answer'}", mend)
    if found.version != own_version:
        reason = f"reached at {found.address}, but it is of version {found.version}, and this is {own_version}"
        return Check(NAME, State.WARNING, reason)
    return Check(NAME, State.OK, f"reached at {found.address}")
