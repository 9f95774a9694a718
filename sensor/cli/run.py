"""`sensor run`: a whole sensor on one host, from its interfaces to its alerts."""

import logging
import sys

import click

from sensor.cli.capture import check_filter, filter_option, interface_options, live, tell_losses
from sensor.cli.main import FAILURE, FOUND, NO_PERMISSION, fail
from sensor.cli.replay import configured, detection_options, output_options, stop_on_signals
from sensor.cli.stats import Telling, stats_option


@click.command("run")
@interface_options
@filter_option
@stats_option
@output_options
@detection_options
def command(
    interfaces: tuple[str, ...],
    ring: int,
    snaplen: int,
    no_promiscuous: bool,
    filter_text: str,
    stats: bool,
    as_json: bool,
    exit_code: bool,
    names: tuple[str, ...],
    plugins: tuple[str, ...],
    assignments: tuple[str, ...],
) -> None:
    """Capture from interfaces (-i eth1, or -i auto) and name the scanners, until INT or TERM.

    Needs CAP_NET_RAW. One process decodes and detects; how many packets were lost is said at the end, and is in the
    summary: kernel_packets = packets_delivered + ring_drops.

    Exit codes: 0 done, 1 failure, 2 usage, 10 alerts with --exit-code, 77 no permission to capture.
    """
    logging.basicConfig(format="sensor: %(message)s", stream=sys.stderr, force=True)
    if not interfaces:
        raise click.UsageError("nothing to capture from: give -i IFACE, or -i auto; `sensor interfaces` lists them")
    settings = configured(names, plugins, assignments)
    check_filter(filter_text)
    from sensor.capture import CaptureError
    from sensor.node import Standalone
    from sensor.node.warm import warm_up

    warm_up(settings)
    telling = Telling(as_json=as_json, stats=stats)
    node = Standalone(settings, telling.outputs, early=True, live=True)
    restore = stop_on_signals(node)
    try:
        with live(interfaces, filter_text, ring=ring, snaplen=snaplen, promiscuous=not no_promiscuous) as source:
            accounting = telling.accounting(source.taps, filter_text=filter_text)
            summary = node.run(source, lambda done, packets: None, accounting)
            tell_losses(source)
    except CaptureError as error:
        raise fail(str(error), NO_PERMISSION if "CAP_NET_RAW" in str(error) else FAILURE) from None
    finally:
        restore()
    sys.exit(FOUND if exit_code and summary.alerts else 0)
