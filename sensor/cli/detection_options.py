"""Options that choose detections and set them, for every command that runs or lists them."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import click

from sensor.cli.main import USAGE, fail
from sensor.config import Settings, configure
from sensor.detection import DetectionError
from sensor.settings_file import SettingsFile
from sensor.words import printable


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """The command line's choice of detections and their settings."""

    file: str | None
    names: Sequence[str]
    plugins: Sequence[str]
    assignments: Sequence[str]

    @property
    def options(self) -> list[str]:
        """The same, for the command line of another process."""
        given = {"--detection": self.names, "--plugin": self.plugins, "--set": self.assignments}
        repeated = [part for option, values in given.items() for value in values for part in (option, value)]
        return [*repeated, *(["--settings", self.file] if self.file else [])]

    def load(self) -> Settings:
        """The settings asked for, as files have them now; DetectionError is a line."""
        return configure(self.names, self.plugins, self.assignments, self.file)

    def settings(self) -> Settings:
        """The same; what is wrong with the asking is a usage error of one line, and what is to be known is said."""
        try:
            settings = self.load()
        except DetectionError as error:
            raise fail(str(error), USAGE) from None
        for notice in settings.notices:
            click.echo(f"sensor: {printable(notice)}", err=True)
        return settings


_OF_CAPTURE = {"interfaces": "names_given", "filter": "filter_text"}  # the others have the names of the options


def take_capture_options(context: click.Context, option: click.Parameter, path: str | None) -> str | None:
    """Let what a settings file says of capture hold where the command line says nothing."""
    if path is not None:
        try:
            values = SettingsFile.read(path).values("capture")
        except DetectionError as error:
            raise fail(str(error), USAGE) from None
        context.default_map = {_OF_CAPTURE.get(name, name): value for name, value in values.items()}
    return path


def detection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options, given to `function` as its argument `chosen`."""

    @functools.wraps(function)
    def gathered(
        *,
        settings_file: str | None,
        names: Sequence[str],
        plugins: Sequence[str],
        assignments: Sequence[str],
        **others: Any,
    ) -> Any:
        chosen = Chosen(file=settings_file, names=names, plugins=plugins, assignments=assignments)
        return function(chosen=chosen, **others)

    for option in (
        click.option(
            "--settings",
            "settings_file",
            metavar="FILE.toml",
            is_eager=True,
            callback=take_capture_options,
            help="Read such settings, and those of capture and the cluster, from a file; those given here too win.",
        ),
        click.option(
            "--set",
            "assignments",
            multiple=True,
            metavar="NAME.OPTION=VALUE",
            help="Set an option: port_scan.ports=20, for some keys port_scan.ports@orig_h:10.0.0.0/8=40 (repeatable).",
        ),
        click.option(
            "--plugin",
            "plugins",
            multiple=True,
            metavar="FILE.py|DIR",
            help="Load detections from a file, or from all Python files directly in a folder (repeatable).",
        ),
        click.option(
            "--detection", "names", multiple=True, metavar="NAME", help="Run this detection only (repeatable)."
        ),
    ):
        gathered = option(gathered)
    return gathered
