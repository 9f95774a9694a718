"""Settings: the choices of the command line, checked before anything runs."""

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from sensor.cluster.settings import ClusterSettings
from sensor.decode import DecodeOptions
from sensor.detection import Detection, DetectionError
from sensor.detection.load import choose, instantiate, load_installed, load_plugins, parse_settings, source_digest
from sensor.detection.option import Value
from sensor.flows import FlowOptions
from sensor.option_tables import SETTABLE, cluster_settings, decode_options, flow_options
from sensor.settings_file import SettingsFile

Values = dict[str, dict[str, Value]]


@dataclass(frozen=True)
class Settings:
    """The detections to run, and their options."""

    detections: tuple[type[Detection], ...]
    values: Values
    """The options that differ from the default, by detection name."""
    flows: FlowOptions
    decode: DecodeOptions
    cluster: ClusterSettings = field(default_factory=ClusterSettings)
    capture: dict[str, Value] = field(default_factory=dict)
    """The capture options of the settings file, for the command line."""
    sketch_key: tuple[int, int] | None = None
    """The key of the sketches in a cluster. None: the fixed key that all sensors share."""
    sources: dict[str, str] = field(default_factory=dict, compare=False)
    """A digest of each detection's source file, as it was when read, by the detection's name."""
    notices: tuple[str, ...] = field(default=(), compare=False)
    """Messages for the user who asked for these settings."""

    def make(self) -> list[Detection]:
        """Make the detection instances of one node."""
        made = instantiate(self.detections, self.values)
        for each in made:
            each.sketch_key = self.sketch_key
        return made

    def of_cluster(self, secret: bytes) -> "Settings":
        """Return these settings for a node of a cluster with a secret of 16 bytes."""
        return replace(self, sketch_key=(int.from_bytes(secret[:8], "big"), int.from_bytes(secret[8:], "big")))


def configure(
    names: Sequence[str] = (),
    plugins: Sequence[str] = (),
    assignments: Sequence[str] = (),
    file: str | None = None,
) -> Settings:
    """Load installed detections and plugins (files, folders), choose some, set options; DetectionError: one line.

    The settings file applies first: given names replace its own, plugins are added, and assignments override.
    """
    kept = SettingsFile.read(file) if file else SettingsFile()
    available = list(load_installed())
    notices = []
    for path in dict.fromkeys((*kept.plugins, *plugins)):
        found = load_plugins(path)
        available += found.detections
        notices += [found.notice] if found.notice else []
    chosen = _choose(available, names, kept)
    if not chosen:
        notices.append(f"no detection runs: {file} has `run = []`")
    told = _of_file(kept, available)
    running = {each.name: told.get(each.name, {}) for each in chosen} | {name: told[name] for name in SETTABLE}
    given = parse_settings(assignments, {each.name: each.options for each in chosen} | SETTABLE)
    settings = _settings(chosen, {name: told | given[name] for name, told in running.items()})
    for each in settings.make():
        each.define()
    return replace(settings, capture=kept.values("capture"), notices=tuple(notices))


def _choose(available: Sequence[type[Detection]], names: Sequence[str], kept: SettingsFile) -> list[type[Detection]]:
    if names or kept.names is None:
        return choose(available, names or None)
    choose(available, None)  # errors in these names are not the file's fault
    with _told_of(f"{kept.path}: detections.run"):
        return choose(available, kept.names)


def _of_file(kept: SettingsFile, available: Sequence[type[Detection]]) -> Values:
    """Return the options that the file sets, including those of idle detections; DetectionError names the file."""
    kept.check_names(each.name for each in available)
    values = {name: kept.values(name) for name in SETTABLE}
    for each in available:
        if own := kept.detection_values(each.name, each.options):
            values[each.name] = own
            with _told_of(f"{kept.path}: detections.{each.name}"):
                each(**own).define()
    with _told_of(kept.path):
        _settings([], {name: values[name] for name in SETTABLE})
    return values


@contextlib.contextmanager
def _told_of(what: str) -> Iterator[None]:
    """Prefix the text of a DetectionError with its place in the file."""
    try:
        yield
    except DetectionError as error:
        raise DetectionError(f"{what}: {error}") from None


def _settings(chosen: Sequence[type[Detection]], values: Values) -> Settings:
    for_all = {name: _without_overrides(name, values[name]) for name in SETTABLE}
    try:
        decode = decode_options(for_all["decode"])
    except ValueError as error:  # two tunnels share a port
        raise DetectionError(f"decode: {error}") from None
    return Settings(
        tuple(chosen),
        {each.name: values[each.name] for each in chosen},
        flow_options(for_all["flows"]),
        decode,
        cluster_settings(for_all["cluster"]),
        sources={each.name: source_digest(each) for each in chosen},
    )


def _without_overrides(name: str, values: dict[str, Value]) -> dict[str, Value]:
    if overrides := [option for option in values if "@" in option]:
        raise DetectionError(f"{name}.{overrides[0]}: only thresholds of detections can differ by key")
    return values
