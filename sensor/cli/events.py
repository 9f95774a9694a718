"""`sensor events`: what a detection can look at."""

import json

import click


@click.command("events")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, one event each.")
def command(as_json: bool) -> None:
    """List the events that a detection can name, each with its columns."""
    from sensor.events import EVENTS

    for event in EVENTS.values():
        columns = {name: {"type": column.type, "doc": column.doc} for name, column in event.columns.items()}
        if as_json:
            click.echo(json.dumps({"event_type": "event", "event": event.name, "doc": event.doc, "columns": columns}))
            continue
        click.echo(f"{click.style(event.name, bold=True)}: {event.doc}")
        for name, column in columns.items():
            click.echo(f"    {name:<13} {column['type']:<9} {column['doc']}")
