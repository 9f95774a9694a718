"""`sensor run`: a whole sensor on one host, from its interfaces to its alerts."""

import logging
import sys
from typing import TYPE_CHECKING, Literal

import click

from sensor.cli.capture import check_filter, live, resolve, shared_opener, tell_gaps, tell_losses
from sensor.cli.capture_options import Interfaces, interface_options
from sensor.cli.detection_options import Chosen, detection_options
from sensor.cli.main import FAILURE, NO_PERMISSION, fail, reason
from sensor.cli.replay import outcome, output_options, reload_on_signal, stop_on_signals
from sensor.cli.stats import RunOutputs, stats_option

if TYPE_CHECKING:
    from sensor.config import Settings
    from sensor.outputs.summary import Summary
    from sensor.privileges import User


@click.command("run")
@interface_options
@click.option(
    "--capture-workers",
    "workers",
    type=click.IntRange(1, 64),
    default=1,
    help="Share the packets among so many processes.",
)
@click.option(
    "--fanout",
    type=click.Choice(["hosts", "hash", "cpu"]),
    default="hosts",
    show_default=True,
    help="Share them by pairs of hosts; by addresses and ports; or by the CPU that took them in.",
)
@stats_option
@output_options
@detection_options
def command(
    interfaces: Interfaces,
    workers: int,
    fanout: Literal["hosts", "hash", "cpu"],
    stats: bool,
    as_json: bool,
    exit_code: bool,
    chosen: Chosen,
) -> None:
    """Capture from interfaces (-i eth1, or -i auto) and find scans, until INT or TERM.

    CAP_NET_RAW is enough. A small process keeps it and opens interfaces; the one that decodes becomes another user, if
    it was root, and gives up every capability. How many packets were lost is said at the end, and is in the summary:
    kernel_packets = packets_delivered + ring_drops. HUP has the settings read again (--settings, --plugin).

    Exit codes: 0 done, 1 failure, also of a detection, 2 usage, 10 alerts with --exit-code, 77 no permission to
    capture.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    if not interfaces.names:
        raise click.UsageError("nothing to capture from: give -i IFACE, or -i auto; `sensor interfaces` lists them")
    if workers > 1 and interfaces.is_sniffed:
        raise click.UsageError("Scapy's packets cannot be shared: leave out --capture-workers, or --source scapy")
    settings = chosen.settings()
    check_filter(interfaces.filter_text)
    user = interfaces.successor()
    from sensor.capture import CaptureError
    from sensor.node.warm import warm_up

    warm_up(settings)
    telling = RunOutputs(as_json=as_json, stats=stats)
    try:
        if workers == 1:
            summary = _one(settings, telling, interfaces, user, chosen)
        else:
            summary = _several(settings, telling, interfaces, user, workers, fanout, chosen)
    except CaptureError as error:
        raise fail(str(error), NO_PERMISSION if "CAP_NET_RAW" in str(error) else FAILURE) from None
    except OSError as error:
        raise fail(reason(error)) from None
    is_told = telling.has_told_all()
    tell_losses(summary.counters)
    if not summary.packets_read:
        named = " ".join(f"-i {name}" for name in interfaces.names)
        click.echo(f"sensor: no packets came; `sensor doctor {named}` may say why", err=True)
    for damage in summary.damage:
        click.echo(f"sensor: {damage}", err=True)
    sys.exit(outcome(summary, is_failed=bool(summary.damage) or not is_told, tells=exit_code))


def _one(
    settings: "Settings", telling: RunOutputs, interfaces: Interfaces, user: "User | None", chosen: Chosen
) -> "Summary":
    from sensor.node import Standalone

    node = Standalone(settings, telling.outputs, early=True, live=True)
    with stop_on_signals(node), reload_on_signal(node, chosen.load), live(interfaces, user) as (source, taps):
        accounting = telling.accounting(taps, filter_text=interfaces.filter_text)
        summary = node.run(source, lambda done, packets: None, accounting)
        tell_gaps(taps)
    return summary


def _several(
    settings: "Settings",
    telling: RunOutputs,
    interfaces: Interfaces,
    user: "User | None",
    workers: int,
    fanout: Literal["hosts", "hash", "cpu"],
    chosen: Chosen,
) -> "Summary":
    from sensor.node.local import LocalCluster, Shared

    interfaces = resolve(interfaces)

    def ready() -> None:
        whom = f" as {user.name}" if user else ""
        names = ", ".join(interfaces.names)
        click.echo(f"sensor: {workers} workers are listening on {names}{whom}, without any capability", err=True)

    with shared_opener(interfaces, user, fanout) as opener:
        node = LocalCluster(
            settings,
            telling.outputs,
            workers=workers,
            options=[*interfaces.options, *chosen.options],
            accounting=telling.accounting(together=", ".join(interfaces.names), filter_text=interfaces.filter_text),
            shared=Shared(opener.admit, user, ready, lambda line: click.echo(line, err=True)),
        )
        with stop_on_signals(node), reload_on_signal(node, chosen.load):
            return node.run()
