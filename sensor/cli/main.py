"""`sensor`: the commands, their arguments and exit codes. What a command needs is imported when it runs."""

import importlib
import os
import sys
from typing import Any

import click

from sensor import __version__
from sensor.cli import streams

COMMANDS = {
    "run": ("sensor.cli.run", "Capture from interfaces and find scans."),
    "replay": ("sensor.cli.replay", "Read capture files and find the scans in them."),
    "manager": ("sensor.cli.manager", "Merge, judge and alert on what workers report."),
    "worker": ("sensor.cli.worker", "Observe, and report to a manager."),
    "status": ("sensor.cli.status", "Show the nodes of a manager, and how far each has come."),
    "cluster": ("sensor.cli.cluster", "Make a cluster of several hosts: init, invite, join, nodes, revoke."),
    "query": ("sensor.cli.query", "Ask what all workers know now of a key, or which keys have the most."),
    "interfaces": ("sensor.cli.interfaces", "List what there is to capture from."),
    "doctor": ("sensor.cli.doctor", "Find out whether this machine is ready for live capture, and how to fix it."),
    "detections": ("sensor.cli.detections", "List the detections, their options, and what each misses."),
    "events": ("sensor.cli.events", "List the events that a detection can name, and their columns."),
}

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
"""NumPy's library for matrices, which nothing here uses, else starts threads that would keep their capabilities."""

FAILURE, USAGE, FOUND, NO_PERMISSION, INTERRUPTED = 1, 2, 10, 77, 130


class LazyGroup(click.Group):
    """A group whose commands are imported when they are used, so that `sensor --version` starts at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The names of all commands."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import one command."""
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = importlib.import_module(COMMANDS[cmd_name][0]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, which INT ends with the exit code that shells know, where it does not end in order."""
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            return ctx.exit(INTERRUPTED)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, summary) for name, (_, summary) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="sensor")
def group() -> None:
    """A network sensor: detections in plain Python, at over half a million packets a second."""


def fail(message: str, code: int = FAILURE) -> Any:
    """Say what went wrong in one line on standard error, and leave."""
    click.echo(f"sensor: {message}", err=True)
    sys.exit(code)


def reason(error: OSError) -> str:
    """Return what went wrong, and with which file, for people."""
    why = error.strerror or str(error)
    return f"{error.filename}: {why}" if error.filename else why


def main() -> None:
    """Run the command line; that a reader of our output has gone away is no failure."""
    streams.guard()
    try:
        try:
            group(prog_name="sensor")
        finally:
            streams.end()
    except streams.UnwritableError as error:
        if not error.is_reader_gone:
            click.echo(f"sensor: {error}", err=True)
        sys.exit(0 if error.is_reader_gone else FAILURE)
