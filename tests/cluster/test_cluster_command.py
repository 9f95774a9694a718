"""`sensor cluster` as it is typed: the way from init to a node that was revoked, and what each step refuses."""

import json
import os
import re
import stat
import subprocess
import sys

import pytest
from click.testing import CliRunner

from sensor.cli.main import group
from sensor.pki.credentials import Credentials
from sensor.pki.registry import Registry
from sensor.pki.token import Token
from tests.cluster.certificates import free_port
from tests.cluster.test_enrol import serving


def run(*arguments, stdin=None, code=0):
    result = CliRunner().invoke(group, ["cluster", *map(str, arguments)], input=stdin)
    assert result.exit_code == code, result.output
    return result


@pytest.fixture
def manager(tmp_path):
    run("init", "--state", tmp_path / "m", "--listen", f"127.0.0.1:{free_port()}", "--enrol-port", free_port())
    return tmp_path / "m"


def nodes(manager):
    return [json.loads(line) for line in run("nodes", "--json", "--state", manager).stdout.splitlines()]


def token_to(address, manager, *options):
    """A token of `invite`, for the server of this test."""
    token = Token.parse(run("invite", *options, "--state", manager).stdout)
    return Token(address, token.name, token.fingerprint, token.secret, token.expires).line()


def test_a_node_is_invited_joins_and_is_revoked(tmp_path, manager):
    with serving(manager / "cluster") as (_, address):
        token = token_to(address, manager, "worker-1")
        assert nodes(manager)[0]["state"] == "invited"
        joined = run("join", token, "--state", tmp_path / "w")
    assert joined.stdout.startswith("worker worker-1 has joined cluster ")
    (node,) = nodes(manager)
    assert (node["name"], node["role"], node["state"]) == ("worker-1", "worker", "joined")
    assert run("revoke", "worker-1", "--state", manager).stdout == "worker-1 is revoked\n"
    (node,) = nodes(manager)
    assert (node["state"], node["certificate_expires"], node["invitation_expires"]) == ("revoked", None, None)


def test_a_token_may_be_read_from_standard_input(tmp_path, manager):
    with serving(manager / "cluster") as (_, address):
        run("join", "-", "--state", tmp_path / "w", stdin=token_to(address, manager, "worker-1") + "\n")
    assert Credentials.load(tmp_path / "w" / "cluster").name == "worker-1"


def test_a_token_works_once(tmp_path, manager):
    with serving(manager / "cluster") as (_, address):
        token = token_to(address, manager, "worker-1")
        run("join", token, "--state", tmp_path / "w")
        again = run("join", token, "--state", tmp_path / "again", code=1)
    assert "it was used" in again.stderr


def test_invite_writes_one_line_and_says_the_rest_aside(manager):
    result = run("invite", "watcher", "--role", "observer", "--for", "1h", "--state", manager)
    assert result.stdout.count("\n") == 1
    token = Token.parse(result.stdout)
    assert token.address == Credentials.load(manager / "cluster").enrolment
    assert re.fullmatch(r"sensor: observer watcher may join once, until \S+Z, while the manager runs\n", result.stderr)


def test_nodes_are_a_table_for_people(manager):
    run("invite", "worker-1", "--state", manager)
    header, row = run("nodes", "--state", manager).stdout.splitlines()
    assert header.split() == ["node", "role", "state", "certificate", "until", "invitation", "until"]
    assert re.fullmatch(r" *worker-1 +worker +invited +- +\d{4}-\d\d-\d\d \d\d:\d\d:\d\d *", row)


def test_secrets_stand_in_nothing_but_the_token(tmp_path, manager):
    with serving(manager / "cluster") as (_, address):
        token = token_to(address, manager, "worker-1")
        shown = [run("join", token, "--state", tmp_path / "w").output]
        shown += [run("join", token, "--state", tmp_path / name, code=1).output for name in ("w", "w2")]
    shown += [run("join", token[:-3], "--state", tmp_path / "w3", code=2).output]
    shown += [run("nodes", *options, "--state", manager).output for options in ((), ("--json",))]
    keys = (manager / "cluster" / "node.json").read_bytes()
    secrets = [token[30:60], token[-12:-3], json.loads(keys)["secret"][:12]]
    assert not [secret for secret in secrets for each in shown if secret in each]


def test_what_is_kept_is_for_its_owner_alone(tmp_path, manager):
    with serving(manager / "cluster") as (_, address):
        run("join", token_to(address, manager, "worker-1"), "--state", tmp_path / "w")
    for folder in (manager / "cluster", tmp_path / "w" / "cluster"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        assert {stat.S_IMODE(each.stat().st_mode) for each in folder.iterdir()} == {0o600}


def test_a_cluster_is_not_made_over_another(manager):
    before = Credentials.load(manager / "cluster")
    assert "already" in run("init", "--state", manager, code=1).stderr
    assert Credentials.load(manager / "cluster") == before


@pytest.mark.parametrize(("listen", "enrolment"), [("[::1]:47700", "[::1]:47701"), ("a.example:1", "a.example:2")])
def test_nodes_enrol_at_the_next_port(tmp_path, listen, enrolment):
    run("init", "--state", tmp_path, "--listen", listen)
    mine = Credentials.load(tmp_path / "cluster")
    assert (mine.address, mine.enrolment) == (listen, enrolment)


@pytest.mark.parametrize(
    "listen", ["", "host", "unix:/tmp/x", "10.0.0.1:0", "10.0.0.1:65535", "10.0.0.1:65536", "0.0.0.0:1", "a b:1"]
)
def test_an_address_that_nodes_cannot_use_is_refused(tmp_path, listen):
    assert "--listen" in run("init", "--state", tmp_path, "--listen", listen, code=2).stderr
    assert not (tmp_path / "cluster").exists()


@pytest.mark.parametrize("name", ["", "-w", "W", "a.b", 33 * "w", "w/../x", "ä"])
@pytest.mark.parametrize("command", ["invite", "revoke"])
def test_a_name_that_no_node_can_have_is_refused(manager, command, name):
    assert "is no name" in run(command, "--state", manager, "--", name, code=2).stderr


@pytest.mark.parametrize(("duration", "code"), [("30d", 0), ("721h", 2), ("0s", 2), ("soon", 2), ("-1m", 2)])
def test_an_invitation_is_for_30_days_at_most(manager, duration, code):
    run("invite", "w", "--for", duration, "--state", manager, code=code)


def test_the_manager_itself_is_not_invited(manager):
    assert "the manager itself" in run("invite", "manager", "--state", manager, code=2).stderr


def test_nobody_joins_as_a_manager(manager):
    run("invite", "w", "--role", "manager", "--state", manager, code=2)


@pytest.mark.parametrize("token", ["x", "sensor1_", "sensor2_AAAA", "sensor1_AAAAAAAAAA"])
def test_what_is_no_token_is_a_usage_error(tmp_path, token):
    assert "token" in run("join", token, "--state", tmp_path, code=2).stderr
    run("join", "-", "--state", tmp_path, stdin=token, code=2)


@pytest.mark.parametrize("arguments", [("invite", "w"), ("nodes",), ("revoke", "w")])
def test_where_there_is_no_cluster_that_is_said_with_what_to_do(tmp_path, arguments):
    text = run(*arguments, "--state", tmp_path, code=1).stderr
    assert f"no cluster in {tmp_path / 'cluster'}" in text and "sensor cluster init" in text


@pytest.mark.parametrize("arguments", [("invite", "w"), ("nodes",), ("revoke", "w")])
def test_a_worker_does_not_manage(tmp_path, manager, arguments):
    with serving(manager / "cluster") as (_, address):
        run("join", token_to(address, manager, "worker-1"), "--state", tmp_path / "w")
    assert "on the manager's host" in run(*arguments, "--state", tmp_path / "w", code=1).stderr


def test_who_is_unknown_cannot_be_revoked(manager):
    assert "there is no node w" in run("revoke", "w", "--state", manager, code=1).stderr


def test_a_damaged_registry_is_named_and_left_alone(manager):
    path = manager / "cluster" / "registry.json"
    path.write_text("{")
    for arguments in (("invite", "w"), ("nodes",), ("revoke", "w")):
        assert f"{path} is damaged" in run(*arguments, "--state", manager, code=1).stderr
    assert path.read_text() == "{"


def test_several_invite_at_once_and_none_is_lost(manager):
    command = [sys.executable, "-m", "sensor", "cluster", "invite", "--state", manager]
    started = [subprocess.Popen([*command, f"w{i}"], stdout=-3, stderr=-3) for i in range(4)]
    assert [each.wait() for each in started] == [0] * 4
    assert sorted(Registry(manager / "cluster").nodes) == ["w0", "w1", "w2", "w3"]


@pytest.mark.parametrize(
    ("euid", "environment", "expected"),
    [
        (0, {}, "/var/lib/sensor"),
        (1000, {"XDG_STATE_HOME": "/x"}, "/x/sensor"),
        (1000, {"XDG_STATE_HOME": "", "HOME": "/home/a"}, "/home/a/.local/state/sensor"),
    ],
)
def test_the_state_is_kept_where_systems_keep_it(monkeypatch, euid, environment, expected):
    from sensor.cli.state_dir import default_state

    monkeypatch.setattr(os, "geteuid", lambda: euid)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert str(default_state()) == expected


def test_what_needs_no_certificates_does_not_import_cryptography(manager):
    program = """
import sys
from sensor.cli.main import group
for arguments in (["--help"], ["join", "--help"], ["invite", "w", "--state", sys.argv[1]]):
    group(["cluster", *arguments], standalone_mode=False)
assert "cryptography" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", program, manager], check=True, capture_output=True)


def test_without_cryptography_it_is_said_how_to_get_it(tmp_path):
    program = "import sys; sys.modules['cryptography'] = None; from sensor.cli.main import main; main()"
    command = [sys.executable, "-c", program, "cluster", "init", "--state", tmp_path]
    result = subprocess.run(command, capture_output=True, text=True)
    assert (result.returncode, result.stdout) == (1, "")
    advice = "pip install cryptography (in a checkout of the sensor: pip install '.[cluster]')"
    assert result.stderr == f"sensor: certificates need the cryptography library: {advice}\n"


def test_help_says_how_to_keep_the_token_from_others():
    text = " ".join(run("join", "--help").stdout.split())
    assert "sensor cluster join -" in text
