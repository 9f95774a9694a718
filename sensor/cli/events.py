"""`sensor events`: what a detection can look at."""

import json

import click

from sensor.cli.detection_options import Chosen, detection_options


@click.command("events")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, one event each, with its columns.")
@detection_options
def command(as_json: bool, chosen: Chosen) -> None:
    """List the events that a detection can name, and then their columns: each once, below the events that have it.

    Protocols that plugins bring are among them.
    """
    from sensor.events import EVENTS, columns

    chosen.settings()  # which loads the plugins
    if as_json:
        for event in EVENTS.values():
            own = {name: {"type": column.type, "doc": column.doc} for name, column in event.columns.items()}
            click.echo(json.dumps({"event_type": "event", "event": event.name, "doc": event.doc, "columns": own}))
        return
    for event in EVENTS.values():
        click.echo(f"{click.style(event.name, bold=True)}: {event.doc}")
    for events, group in columns().items():
        click.echo()
        click.echo(_of(events))
        for name, column in group.items():
            click.echo(f"    {name:<13} {column.type:<9} {column.doc}")


def _of(events: tuple[str, ...]) -> str:
    """Return the heading of a group of columns: its events, or all but the others."""
    from sensor.events import EVENTS

    others = [name for name in EVENTS if name not in events]
    if not others:
        return "Columns of every event:"
    if len(others) < len(events):
        return f"Columns of every event but {', '.join(others)}:"
    return f"Columns of {', '.join(events)}:"
