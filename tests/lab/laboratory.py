"""What tests that build a lab share: the library, the servers for it, and whether one can be built here."""

import importlib.util
import os
import shutil
import sys
from pathlib import Path

import pytest

pyroute2 = pytest.importorskip("pyroute2")

TOOLS = Path(__file__).parents[2] / "tools"


def load(name):
    """A module of tools/, under the name by which the others there import it."""
    spec = importlib.util.spec_from_file_location(name, TOOLS / f"{name}.py")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


lab = load("lab")
services = load("services")


def why_no_lab():
    """The reason why no lab can be built here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    try:
        with lab.Lab() as trial:
            trial.host("trial", "192.0.2.1/24")
    except (OSError, pyroute2.NetlinkError) as error:
        return f"no network namespaces here: {error}"
    return None


def need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
