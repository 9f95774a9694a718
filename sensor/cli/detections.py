"""`sensor detections`: what runs, how it can be set, and what it does not find."""

import json
from collections.abc import Mapping

import click

from sensor.cli.detection_options import Chosen, detection_options
from sensor.detection import Detection, Option
from sensor.detection.option import Value
from sensor.option_tables import CLUSTER, DECODE, FLOWS


@click.command("detections")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, one detection each.")
@detection_options
def command(as_json: bool, chosen: Chosen) -> None:
    """List the detections with their options and what each misses; then the options of flows, decode and cluster."""
    for detection in chosen.settings().make():
        click.echo(json.dumps(_record(detection)) if as_json else _paragraph(detection))
    if not as_json:
        _tell_of_all("flows", "What is true of every connection.", FLOWS)
        click.echo()
        _tell_of_all("decode", "What is true of every packet.", DECODE)
        click.echo()
        _tell_of_all("cluster", "What holds between a manager and its workers.", CLUSTER)


def _tell_of_all(name: str, meaning: str, options: Mapping[str, Option]) -> None:
    click.echo(f"{click.style(name, bold=True)}\n  {meaning}")
    click.echo("\n".join(_options(options, {name: option.default for name, option in options.items()})))


def _record(detection: Detection) -> dict[str, object]:
    return {
        "event_type": "detection",
        "detection": detection.name,
        "version": detection.version,
        "severity": detection.severity,
        "attack": detection.attack,
        "description": _description(detection),
        "misses": detection.misses(),
        "options": [
            {
                "name": name,
                "value": detection.settings[name],
                "default": option.default,
                "min": option.min,
                "max": option.max,
                "help": option.help,
            }
            for name, option in detection.options.items()
        ],
    }


def _paragraph(detection: Detection) -> str:
    lines = [click.style(detection.name, bold=True), f"  {_description(detection)}"]
    lines += _options(detection.options, detection.settings)
    lines.append(f"  {detection.misses() or 'It does not say what it misses.'}\n")
    return "\n".join(lines)


def _options(options: Mapping[str, Option], values: Mapping[str, Value]) -> list[str]:
    width = max((len(name) for name in options), default=0)
    lines = []
    for name, option in options.items():
        lines.append(f"    {name:<{width}} = {_text(values[name]):<7} {option.help} (default {_text(option.default)})")
    return lines


def _text(value: Value) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _description(detection: Detection) -> str:
    return detection.documentation().splitlines()[0] if detection.documentation() else ""
