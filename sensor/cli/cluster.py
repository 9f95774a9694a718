"""`sensor cluster`: make a cluster, invite nodes, join, list them, revoke and remove them."""

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sensor.cli.main import fail
from sensor.cli.state_dir import failures, manager_option, state_option

if TYPE_CHECKING:
    from sensor.pki.credentials import Credentials
    from sensor.pki.registry import Node

CLUSTER = "cluster"
_MOST_DAYS = 30  # an invitation that is good for longer is a password


def _name(context: click.Context, option: click.Parameter, value: str) -> str:
    from sensor.pki.credentials import NAME

    if not re.fullmatch(NAME, value):
        raise click.BadParameter(f"{value!r} is no name; use up to 32 of a-z, 0-9 and -, and do not begin with -")
    return value


def _duration(context: click.Context, option: click.Parameter, value: str) -> int:
    from sensor.clock import parse_duration

    try:
        duration = parse_duration(value)
        most = parse_duration(f"{_MOST_DAYS}d")
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    if not 0 < duration <= most:
        raise click.BadParameter(f"{value!r} must be above 0 and at most {_MOST_DAYS}d")
    return duration


@click.group("cluster")
def command() -> None:
    """Let nodes of several hosts work together, with certificates of the cluster's own.

    On the manager: init, then invite for each node. On the node: join, with the line that invite wrote.

    Exit codes: 0 done, 1 failure or refused, 2 usage, 77 no permission.
    """


@command.command()
@state_option
@click.option(
    "--listen",
    default="127.0.0.1:47700",
    show_default=True,
    metavar="HOST:PORT",
    help="Where nodes reach the manager: its certificate is for this host.",
)
@click.option("--enrol-port", type=click.IntRange(1, 65535), help="Where nodes join; by default the next port.")
def init(state: Path, listen: str, enrol_port: int | None) -> None:
    """Make a cluster: its authority, the manager's certificate, and a secret that all nodes share."""
    from sensor.bus.endpoint import BusError, Endpoint
    from sensor.clock import now_ns

    with failures():
        try:
            bus = Endpoint.parse(listen)
        except BusError as error:
            raise click.BadParameter(str(error), param_hint="--listen") from None
        if bus.path or not 1 <= bus.port <= 65535 - (enrol_port is None):
            raise click.BadParameter(f"{listen} is not HOST:PORT with two ports to use", param_hint="--listen")
        from sensor.pki import authority

        enrolment = Endpoint(bus.host, enrol_port or bus.port + 1)
        try:
            made = authority.create(state / CLUSTER, bus.host, bus=str(bus), enrolment=str(enrolment), now=now_ns())
        except ValueError as error:
            raise click.BadParameter(str(error), param_hint="--listen") from None
    click.echo(f"cluster {made.cluster} is made in {state / CLUSTER}; nodes reach it at {bus} and join at {enrolment}")
    if bus.is_local:
        click.echo(f"sensor: other hosts cannot reach {bus.host}; for a cluster of several, use --listen", err=True)


@command.command()
@click.argument("name", callback=_name)
@state_option
@click.option("--role", type=click.Choice(["worker", "observer"]), default="worker", show_default=True)
@click.option("--for", "duration", default="15m", callback=_duration, show_default=True, help="How long it holds.")
def invite(name: str, state: Path, role: Any, duration: int) -> None:
    """Write the line with which a node of this NAME may join, once.

    Whoever has the line may join in the node's stead: hand it over as you would a password. An invitation replaces the
    one before it; a node that has joined stays so until it joins again.
    """
    from sensor.clock import now_ns, rfc3339
    from sensor.pki.credentials import fingerprint
    from sensor.pki.registry import Registry
    from sensor.pki.token import Token

    with failures():
        mine = _manager(state)
        if name == mine.name:
            raise click.BadParameter(f"{name} is the manager itself", param_hint="NAME")
        expires = now_ns() + duration
        secret = Registry(state / CLUSTER).invite(name, role, expires)
        token = Token(mine.enrolment, name, fingerprint(state / CLUSTER), secret, expires)
    click.echo(token.line())
    click.echo(f"sensor: {role} {name} may join once, until {rfc3339(expires)}, while the manager runs", err=True)


@command.command()
@click.argument("token")
@state_option
def join(token: str, state: Path) -> None:
    """Join the cluster that wrote the TOKEN; with `-` it is read from standard input.

    Other users of this host can see the arguments of commands, and shells remember them. A token is of no more use once
    this has succeeded; where that is not enough, write `sensor cluster join -` and paste it then.
    """
    from sensor.pki.token import MOST, Token

    line = sys.stdin.readline(MOST + 1) if token == "-" else token
    try:
        read = Token.parse(line)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="TOKEN") from None
    with failures():
        from sensor.cluster.join import EnrolmentError
        from sensor.cluster.join import join as enrol

        try:
            mine = enrol(read, state / CLUSTER)
        except EnrolmentError as error:
            raise fail(str(error)) from None
    click.echo(f"{mine.role} {mine.name} has joined cluster {mine.cluster}; its manager is at {mine.address}")


@command.command()
@state_option
@click.option("--json", "as_json", is_flag=True, help="Write one JSON object a line and node.")
def nodes(state: Path, as_json: bool) -> None:
    """List the nodes: role, state (invited, joined, revoked), and until when certificate and invitation hold."""
    from sensor.pki.registry import Registry

    with failures():
        _manager(state)
        rows = [_row(name, node) for name, node in sorted(Registry(state / CLUSTER).nodes.items())]
    if as_json:
        import msgspec

        for row in rows:
            click.echo(msgspec.json.encode(row).decode())
        return
    from sensor.cli.table import write_table

    shown = [
        [(each or "-")[:19].replace("T", " ") if "expires" in key else each or "-" for key, each in row.items()]
        for row in rows
    ]
    write_table(["node", "role", "state", "certificate until", "invitation until"], shown)


@command.command()
@click.argument("name", callback=_name)
@state_option
def revoke(name: str, state: Path) -> None:
    """Let a node in no more, neither by its certificate nor by an invitation; it may be invited again.

    Of a worker nothing is missing any more, from then on.
    """
    from sensor.pki.registry import Registry

    with failures():
        _manager(state)
        Registry(state / CLUSTER).revoke(name)
    click.echo(f"{name} is revoked")


@command.command()
@click.argument("name")
@manager_option
@state_option
def remove(name: str, address: str | None, state: Path) -> None:
    """Say that a worker is gone for good, so that nothing is incomplete for it from now on.

    On the manager's host, while the manager runs. A worker that comes back is waited for again; revoke lets it in no
    more, and removes it, too.
    """
    from sensor.node.manager_address import ManagerAddress
    from sensor.node.observer import remove_worker

    with failures():
        manager = ManagerAddress.find(address, state)
        try:
            reason = remove_worker(manager, name)
        except TimeoutError as error:
            raise fail(f"the manager at {manager.address} cannot be reached: {error}") from None
    if reason:
        raise fail(reason)
    click.echo(f"{name} is not waited for any more")


def _row(name: str, node: "Node") -> dict[str, str | None]:
    from sensor.clock import rfc3339

    return {
        "name": name,
        "role": node.role,
        "state": node.state,
        "certificate_expires": rfc3339(node.certificates[-1].expires) if node.certificates else None,
        "invitation_expires": rfc3339(node.invitation.expires) if node.invitation else None,
    }


def _manager(state: Path) -> "Credentials":
    """The manager's credentials; this is for it alone."""
    from sensor.pki.credentials import Credentials, CredentialsError

    mine = Credentials.load(state / CLUSTER)
    if mine.role != "manager":
        raise CredentialsError(f"{state / CLUSTER} is that of {mine.role} {mine.name}: do this on the manager's host")
    return mine
