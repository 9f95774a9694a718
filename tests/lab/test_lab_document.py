"""tools/LAB.md is true: its example runs as it stands, and its table names all that the lab offers."""

import inspect
import json
import os
import re
import subprocess
import sys

import pytest

from tests.lab.laboratory import TOOLS, lab, need, why_no_lab
from tests.replaying import ROOT

DOCUMENT = (TOOLS / "LAB.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`[^`]*:\n\n```python\n(.*?)```", DOCUMENT, re.DOTALL))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The example's files, and what running it leaves beside them."""
    if reason := why_no_lab():
        pytest.skip(reason)
    need("ssh", "sshd", "tcpdump", "unshare")
    folder = tmp_path_factory.mktemp("example")
    for name, text in FILES.items():
        (folder / name).write_text(text)
    return folder


def python(folder, *arguments):
    environment = os.environ | {"PYTHONPATH": f"{TOOLS}:{ROOT}"}
    command = [sys.executable, *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60)


def test_the_example_is_told_live_and_recorded_for_its_test(folder):
    assert sorted(FILES) == ["ssh_knocks.py", "ssh_knocks_lab.py", "test_ssh_knocks.py"]
    ran = python(folder, "ssh_knocks_lab.py")
    assert ran.returncode == 0, ran.stderr
    listens, told, *rest = ran.stdout.splitlines()
    assert "listening on eth0" in listens and "192.0.2.10 knocked 5 times at SSH of 192.0.2.22" in told
    kinds = [json.loads(line)["event_type"] for line in rest]
    assert set(kinds[:-1]) == {"alert_update"}  # how many depends on when it was first told
    assert kinds[-1] == "summary"
    tested = python(folder, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_ssh_knocks.py")
    assert tested.returncode == 0 and "1 passed" in tested.stdout, tested.stdout


def public(thing):
    return [(name, each) for name, each in vars(thing).items() if not name.startswith("_")]


@pytest.mark.parametrize("name", ["Lab", "Host", "Switch", "Process"])
def test_what_the_lab_offers_is_in_the_table_and_has_a_docstring(name):
    methods = [each for each in public(getattr(lab, name)) if inspect.isfunction(each[1])]
    assert inspect.getdoc(getattr(lab, name)) and methods
    for method, function in methods:
        assert f"`{name}.{method}`" in DOCUMENT and inspect.getdoc(function), method


def test_the_table_names_nothing_else():
    [table] = re.findall(r"\| --- \| --- \|\n((?:\|.*\n)+)", DOCUMENT)
    attributes = {"Lab.scratch", "Host.namespace"}
    for owner, name in re.findall(r"`(\w+)\.(\w+)`", table):
        assert f"{owner}.{name}" in attributes or hasattr(getattr(lab, owner), name), (owner, name)
