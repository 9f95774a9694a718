"""`sensor detections`: what runs, how it can be set, and what it does not find."""

import json

import click

from sensor.cli.replay import configured, detection_options
from sensor.detection import Detection


@click.command("detections")
@click.option("--json", "as_json", is_flag=True, help="Write JSON lines, one detection each.")
@detection_options
def command(as_json: bool, names: tuple[str, ...], plugins: tuple[str, ...], assignments: tuple[str, ...]) -> None:
    """List the detections with their options, defaults, and what each misses."""
    for detection in configured(names, plugins, assignments).make():
        click.echo(json.dumps(_record(detection)) if as_json else _paragraph(detection))


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
    width = max((len(name) for name in detection.options), default=0)
    for name, option in detection.options.items():
        value = detection.settings[name]
        default = f"default {option.default}" if value == option.default else f"set; default {option.default}"
        lines.append(f"    {name:<{width}} = {value!s:<5} {option.help} ({default})")
    lines.append(f"  {detection.misses() or 'It does not say what it misses.'}\n")
    return "\n".join(lines)


def _description(detection: Detection) -> str:
    return detection.documentation().splitlines()[0] if detection.documentation() else ""
