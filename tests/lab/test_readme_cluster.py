"""What the README says of a cluster is true: its commands are run as they are written, in network namespaces.

A host of its own stands for each prompt, with folders of its own in the places of /var/lib and the working directory.
"""

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.lab.laboratory import lab, need, why_no_lab
from tests.replaying import PCAPS, ROOT

PATIENCE_S = 180.0
SECTION = (ROOT / "README.md").read_text().split("\n## Workers and a manager\n")[1].split("\n## ")[0]
ALONE, OVER_HOSTS = re.findall(r"```console\n(.*?)```", SECTION, re.DOTALL)
SCANS = ("port-scan-syn", "random-scan")


def commands(block):
    """(prompt, command, whether it runs on) of each line, without its comment."""
    for line in block.splitlines():
        prompt, command = line.split("$ ", 1)
        command = re.sub(r"\s+#\s.*", "", command)
        yield prompt, command.removesuffix(" &"), command.endswith(" &")


@pytest.fixture
def hosts(tmp_path):
    """A shell on each host, by its prompt."""
    if reason := why_no_lab():
        pytest.skip(reason)
    need("unshare", "mount")
    pytest.importorskip("cryptography")
    with lab.Lab() as net:
        made = {
            "": net.host("alone", "192.0.2.9/24"),
            "manager": net.host("manager", "192.0.2.1/24"),
            "worker-1": net.host("worker-1", "192.0.2.2/24"),
        }
        yield {prompt: Shell(host, tmp_path / f"host-{host.name}") for prompt, host in made.items()}


class Shell:
    """Runs lines of the README on a host."""

    def __init__(self, host, folder):
        self._host = host
        self.folder, self.state = folder, folder / "state"
        self.state.mkdir(parents=True)
        for name, own in (("capture", SCANS[0]), ("a", SCANS[0]), ("b", SCANS[1])):
            shutil.copy(PCAPS / f"{own}.pcap", folder / f"{name}.pcap")

    def start(self, command):
        """Begin what a line says, with /var/lib/sensor in this host's own folder."""
        words = shlex.split(command)
        program = [sys.executable, "-P", "-m", *words]
        within = 'mount --bind "$0" /var/lib/sensor && exec "$@"'
        Path("/var/lib/sensor").mkdir(exist_ok=True)
        inside = ["unshare", "--mount", "sh", "-c", within, str(self.state), *program]
        environment = os.environ | {"PYTHONPATH": str(ROOT)}
        return self._host.popen(inside, cwd=self.folder, env=environment, stderr=subprocess.STDOUT)

    def run(self, command, *, code=0):
        """All that it says, once it has ended as it should."""
        process = self.start(command)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == code, (command, process.returncode, said)
        return said


def listening(process):
    line = ""
    while "listens at" not in line:
        line = process.stdout.readline()
        assert line, "the manager ended"
    return line


def eventually(shell, command, text):
    deadline = time.monotonic() + PATIENCE_S
    while text not in (said := shell.run(command)):
        assert time.monotonic() < deadline, said
    return said


def test_a_manager_and_two_workers_on_one_host_do_what_the_readme_says(hosts):
    [replay, manager, *workers, status, top, hosts_of] = list(commands(ALONE))
    alone = hosts[""]
    assert "1 alert from" in alone.run(replay[1])
    assert manager[2], "the manager is to run on"
    running = alone.start(manager[1])
    assert "127.0.0.1:47700" in listening(running)
    begun = [alone.start(each[1]) for each in workers]
    for each in begun:
        said, _ = each.communicate(timeout=PATIENCE_S)
        assert each.returncode == 0, said
    said = eventually(alone, status[1], "2 alerts")
    assert re.search(r"^a .*done", said, re.MULTILINE) and re.search(r"^b .*done", said, re.MULTILINE), said
    for _, command, _ in (top, hosts_of):
        assert "Traceback" not in alone.run(command)
    running.terminate()
    running.communicate(timeout=PATIENCE_S)
    assert running.returncode == 0


@pytest.mark.parametrize(("end", "other"), [("revoke", "remove"), ("remove", "revoke")])
def test_a_worker_on_another_host_does_what_the_readme_says(hosts, end, other):
    """Its last two lines are two ways to part with a worker, of which one is taken."""
    token, said = "", {}
    for prompt, command, runs_on in commands(OVER_HOSTS):
        shell = hosts[prompt]
        if command.startswith("pip "):
            assert command == "pip install '.[cluster]'"
        elif runs_on:
            assert "192.0.2.1:47700" in listening(shell.start(command))
        elif " invite " in command:
            [token] = re.findall(r"^sensor1_\S+$", shell.run(command), re.MULTILINE)
        elif f" {other} " not in command:
            said[command] = shell.run(command.replace("sensor1_...", token))
    assert "1 alert" in said["sensor status"] and re.search(r"^worker-1 .*done", said["sensor status"], re.MULTILINE)
    assert "worker-1" in said["sensor cluster nodes"] and f"sensor cluster {end} worker-1" in said
    assert ("revoked" in hosts["manager"].run("sensor cluster nodes")) is (end == "revoke")
    assert re.search(r"^worker-1 +left ", hosts["manager"].run("sensor status"), re.MULTILINE)
