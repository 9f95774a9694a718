"""The state folder, which outlives a node, and its option."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sensor.cli.main import NO_PERMISSION, USAGE, fail, reason
from sensor.privileges import User


def default_state() -> Path:
    """Return the default state folder of this user."""
    if os.geteuid() == 0:
        return Path("/var/lib/sensor")
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state") / "sensor"


state_option: Callable[[Any], Any] = click.option(
    "--state",
    type=click.Path(path_type=Path, file_okay=False),
    default=default_state,
    show_default="/var/lib/sensor, or ~/.local/state/sensor where not root",
    metavar="DIR",
    help="Folder of this node: certificates are in `cluster` below it.",
)

manager_option: Callable[[Any], Any] = click.option(
    "--manager",
    "address",
    show_default="that of the cluster which --state is of, or 127.0.0.1:47700",
    metavar="HOST:PORT",
    help="The manager's address, or unix:PATH.",
)


def hand_over(user: User, address: str, certificates: Path | None, spool: Path | None) -> None:
    """Let whom this process becomes write what it has to, and see to it that the manager will be in reach."""
    from sensor.bus.endpoint import Endpoint

    path = Endpoint.parse(address).path
    if path and Path(path).exists() and Path(path).stat().st_uid != user.uid:
        advice = f"run it as {user.name}, or let it listen at 127.0.0.1:47700"
        raise fail(
            f"the manager at {path} listens for its own user alone, and this worker becomes {user.name}: {advice}",
            NO_PERMISSION,
        )
    if certificates is not None:
        user.own(certificates)
        _check_way(user, certificates, "--state")
    if spool is None:
        return
    if not spool.exists():
        spool.mkdir(mode=0o700, parents=True)
        user.own(spool)
    elif spool.stat().st_uid != user.uid:
        raise fail(f"{spool} is not {user.name}'s, who is to write there: chown -R {user.name} {spool}", NO_PERMISSION)
    _check_way(user, spool, "--spool")


def _check_way(user: User, path: Path, option: str) -> None:
    """See to it that a folder can be reached by its path once this process is another user's."""
    folders = [*reversed(path.resolve().parents), path]
    with user.acting():
        closed = [each for each in folders if not os.access(each, os.X_OK, effective_ids=True)]
    if closed:
        advice = f"chmod o+x {closed[0]}, give {option} a folder elsewhere, or --user the owner's name"
        raise fail(f"{path}: {user.name}, whom this worker becomes, may not enter {closed[0]}: {advice}", NO_PERMISSION)


@contextmanager
def failures() -> Iterator[None]:
    """Say in a line what is wrong with a cluster's folder, or with an address, and leave."""
    from sensor.bus.endpoint import BusError
    from sensor.pki.credentials import CredentialsError
    from sensor.pki.registry import RegistryError

    try:
        yield
    except PermissionError as error:
        raise fail(f"{error.filename} may not be read or written: run this as its owner", NO_PERMISSION) from None
    except BusError as error:
        raise fail(str(error), USAGE) from None
    except OSError as error:
        raise fail(reason(error)) from None
    except (CredentialsError, RegistryError, ImportError) as error:
        raise fail(str(error)) from None
