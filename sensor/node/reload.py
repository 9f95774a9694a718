"""Reloading: settings that are read again while a capture goes on, and taken only if they are right."""

import logging
from collections.abc import Callable
from dataclasses import replace

from sensor.config import Settings
from sensor.detection import DetectionError

log = logging.getLogger(__name__)

_LASTING = ("capture", "decode", "flows", "cluster")


def reloaded(
    load: Callable[[], Settings],
    present: Settings,
    *,
    is_led: bool = False,
    accepts: Callable[[Settings], bool] = lambda settings: True,
) -> Settings | None:
    """Return the settings to go on with; None, with the reason logged: go on with the present ones.

    `is_led`: who asks says when they hold, or another process does. `accepts`: whether the manager would take them.

    Options of flows and decode hold for the table of connections that there is, those of capture and the cluster for
    what is open; they stay.
    """
    try:
        settings = load()
    except (DetectionError, OSError) as error:
        log.error("the settings stay as they are: %s", error)
        return None
    if not accepts(settings):
        advice = "restart that with these settings, and then this worker"
        log.error("the settings stay as they are: they define other SumStats than the manager's: %s", advice)
        return None
    if changed := [name for name in _LASTING if getattr(settings, name) != getattr(present, name)]:
        log.warning("options of %s stay as they are until the sensor is restarted", " and ".join(changed))
    if not is_led:
        say_that_they_hold(settings)
    lasting = {name: getattr(present, name) for name in _LASTING}
    return replace(settings, sketch_key=present.sketch_key, **lasting)


def say_that_they_hold(settings: Settings) -> None:
    """Say that no packet is judged by the settings before any more."""
    log.warning(
        "the settings were read again: %s", ", ".join(each.name for each in settings.detections) or "no detection"
    )
