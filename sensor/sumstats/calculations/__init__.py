"""The calculations, one file each: whatever `Reducer` a module here defines is one, and there is no other list."""

import importlib
import pkgutil

from sensor.sumstats.calculation import Reducer


def _found() -> tuple[type[Reducer], ...]:
    modules = [importlib.import_module(f"{__name__}.{each.name}") for each in pkgutil.iter_modules(__path__)]
    classes = [each for module in modules for each in vars(module).values() if isinstance(each, type)]
    own = [each for each in classes if issubclass(each, Reducer) and each.__module__.startswith(f"{__name__}.")]
    return tuple(sorted({each for each in own if "calculation" in vars(each)}, key=lambda each: each.calculation))


CALCULATIONS: tuple[type[Reducer], ...] = _found()
"""All that there are, in order of their names."""
