"""`sensor worker`: observe for a manager elsewhere."""

import logging
import re
import socket
import sys
from pathlib import Path

import click

from sensor.cli.capture import check_filter, files, filter_option, interface_options, live, tell_losses
from sensor.cli.main import FAILURE, NO_PERMISSION, USAGE, fail
from sensor.cli.replay import configured, detection_options, stop_on_signals
from sensor.cli.state import failures, manager_option, state_option
from sensor.cli.stats import Telling, stats_option


def _share(context: click.Context, option: click.Parameter, value: str) -> tuple[int, int]:
    match = re.fullmatch(r"([0-9]+)/([0-9]+)", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]) <= 1024:
        raise click.BadParameter(f"{value!r} is no share; write the number of this worker and of how many, such as 2/4")
    return int(match[1]) - 1, int(match[2])


@click.command("worker")
@manager_option
@state_option
@click.option("--replay", "inputs", multiple=True, metavar="FILE", help="Read a capture file or folder (repeatable).")
@interface_options
@filter_option
@stats_option
@click.option("--name", default="", help="This worker's name: that of its certificate, or the host's.")
@click.option(
    "--share",
    default="1/1",
    callback=_share,
    metavar="I/N",
    help="Track the I-th of N parts of the hosts; the other workers read the same files.",
)
@click.option("--spool", type=click.Path(path_type=Path), help="Folder for results that do not fit into memory.")
@click.option("--parent", type=int, hidden=True, help="End with this process.")
@detection_options
def command(
    address: str | None,
    state: Path,
    inputs: tuple[str, ...],
    interfaces: tuple[str, ...],
    ring: int,
    snaplen: int,
    no_promiscuous: bool,
    filter_text: str,
    stats: bool,
    name: str,
    share: tuple[int, int],
    spool: Path | None,
    parent: int | None,
    names: tuple[str, ...],
    plugins: tuple[str, ...],
    assignments: tuple[str, ...],
) -> None:
    """Observe, and report to a manager, until INT or TERM, or until the input has ended and the manager has all of it.

    What cannot be delivered is held, in memory and then in --spool, and delivered when the manager is back.

    Exit codes: 0 done, 1 an input is missing or damaged or the manager refuses, 2 usage, 77 no permission to read.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    if bool(inputs) == bool(interfaces):
        raise click.UsageError("what to observe? Give either -i IFACE (or -i auto) or --replay FILE")
    settings = configured(names, plugins, assignments)
    check_filter(filter_text)
    from sensor.capture import CaptureError
    from sensor.node.attended import attended
    from sensor.node.contact import Contact
    from sensor.node.warm import warm_up
    from sensor.node.worker import Place, RefusedError, WorkerNode

    with failures():
        manager = Contact.find(address, state)
        if manager.secret:
            settings = settings.of_cluster(manager.secret)
        if (mine := manager.credentials) and (mine.role != "worker" or name not in ("", mine.name)):
            as_whom = f"{mine.role} {mine.name}"
            raise fail(f"this host has joined as {as_whom}: invite it as a worker, or leave out --name", USAGE)
        own = name or (mine.name if mine else socket.gethostname().split(".")[0].lower())
        node = WorkerNode(settings, Place(own, manager, share, spool, parent, replays=not interfaces))
    restore = stop_on_signals(node)
    try:
        if interfaces:
            warm_up(settings)
            with live(interfaces, filter_text, ring=ring, snaplen=snaplen, promiscuous=not no_promiscuous) as capture:
                node.run(
                    capture, Telling(stats=stats, is_silent=True).accounting(capture.taps, filter_text=filter_text)
                )
                tell_losses(capture)
                damaged = False
        else:
            with files(inputs, filter_text, attended(sys.stdin.buffer, node.attend)) as (_, seen):
                node.run(seen)
                damaged = bool(seen.damage)
    except CaptureError as error:
        is_forbidden = isinstance(error.__cause__, PermissionError) or "CAP_NET_RAW" in str(error)
        raise fail(str(error), NO_PERMISSION if is_forbidden else FAILURE) from None
    except (RefusedError, OSError) as error:
        raise fail(str(error)) from None
    finally:
        restore()
    sys.exit(FAILURE if damaged else 0)
