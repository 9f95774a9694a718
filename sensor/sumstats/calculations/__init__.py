"""The calculations, one file each: whatever `Reducer` a module here defines is one, and there is no other list.

A module is imported when one of its classes is asked for: each costs a few milliseconds at start-up.
"""

import importlib
import pkgutil
from functools import cache
from types import ModuleType

from sensor.sumstats.calculation import Reducer


@cache
def every() -> tuple[type[Reducer], ...]:
    """All that there are, in order of Zeek's names."""
    found = {each for module in _modules() for each in _defined(_load(module))}
    return tuple(sorted(found, key=lambda each: each.calculation))


def find(name: str) -> type[Reducer]:
    """The one whose class has that name; KeyError where there is none."""
    likely = [module for module in _modules() if module.replace("_", "") == name.lower()]
    known = [each for module in likely for each in _defined(_load(module))]
    return {each.__name__: each for each in (known or every())}[name]


def _modules() -> list[str]:
    return [each.name for each in pkgutil.iter_modules(__path__)]


def _load(module: str) -> ModuleType:
    return importlib.import_module(f"{__name__}.{module}")


def _defined(module: ModuleType) -> list[type[Reducer]]:
    classes = [each for each in vars(module).values() if isinstance(each, type) and issubclass(each, Reducer)]
    return [each for each in classes if each.__module__ == module.__name__ and "calculation" in vars(each)]
