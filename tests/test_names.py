"""Files whose names are not UTF-8, or would drive a terminal, and folders that are links: named, and nothing raises."""

import json
import os
import subprocess
import sys

import pytest

from tests.replaying import PCAPS, ROOT, replay

SCAN = (PCAPS / "port-scan-syn.pcap").read_bytes()


def run(*arguments, **options):
    """As `sensor`, with arguments of bytes."""
    command = [sys.executable, "-m", "sensor", *arguments]
    return subprocess.run(command, capture_output=True, timeout=120, cwd=ROOT, **options)


def odd(tmp_path, data, name=b"caf\xe9.pcap"):
    path = os.fsencode(tmp_path) + b"/" + name
    with open(path, "wb") as file:
        file.write(data)
    return path


@pytest.mark.parametrize("workers", [b"1", b"2"])
def test_a_damaged_file_of_an_odd_name_is_named_with_escapes_in_a_whole_summary(tmp_path, workers):
    ran = run("replay", "--json", "--workers", workers, odd(tmp_path, SCAN[:-1]))
    *alerts, summary = map(json.loads, ran.stdout.decode().splitlines())
    assert len(alerts) == 1 and ran.returncode == 1
    assert summary["damage"][0].startswith(f"{tmp_path}/caf\\xe9.pcap: at byte ")
    assert f"sensor: damaged: {tmp_path}/caf\\xe9.pcap: at byte " in ran.stderr.decode()


@pytest.mark.parametrize(
    ("name", "told"), [(b"\xff.pcap", "\\xff.pcap"), (b"a\nb\x1b[2J", "a\\nb\\x1b[2J"), ("é".encode(), "é")]
)
def test_what_is_no_capture_is_named_with_escapes(tmp_path, name, told):
    ran = run("replay", odd(tmp_path, b"no capture", name), env={**os.environ, "PYTHONUTF8": "1"})
    assert ran.returncode == 1
    assert ran.stderr.decode().startswith(f"sensor: {tmp_path}/{told}: not a capture file")
    ran = run("replay", odd(tmp_path, b"", name) + b".absent", env={**os.environ, "PYTHONUTF8": "1"})
    assert ran.stderr.decode().startswith(f"sensor: {tmp_path}/{told}.absent: No such file")


def test_a_whole_file_of_an_odd_name_reads_as_any_other_alone_and_in_its_folder(tmp_path):
    path = odd(tmp_path, SCAN)
    odd(tmp_path, b"no capture", b"\xfe.txt")
    for given in (path, os.fsencode(tmp_path)):
        ran = run("replay", given)
        assert ran.returncode == 0 and b"port" in ran.stdout
    assert f"{tmp_path}/\\xfe.txt: not a capture file" in ran.stderr.decode()


def test_a_filter_that_is_not_utf_8_is_a_usage_error(tmp_path):
    ran = run("replay", "-f", b"host caf\xe9", odd(tmp_path, SCAN))
    assert ran.returncode == 2 and b"Traceback" not in ran.stderr


def test_a_linked_folder_is_named_and_not_followed_and_a_linked_file_is_read(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    (elsewhere / "scan.pcap").write_bytes(SCAN)
    (folder / "linked").symlink_to(elsewhere)
    (folder / "linked.pcap").symlink_to(elsewhere / "scan.pcap")
    (folder / "nowhere").symlink_to(tmp_path / "absent")
    ran = replay(folder)
    assert ran.exit_code == 0 and ran.summary["counters"]["files"] == 1 and len(ran.alerts) == 1
    assert f"sensor: {folder}/linked: a link to a folder, which is not followed; name it to read it too\n" in ran.stderr
    assert f"sensor: {folder}/nowhere: no file, or a link to none" in ran.stderr
    assert replay(folder / "linked").summary["counters"]["files"] == 1


def test_of_many_linked_folders_the_first_are_named_and_the_rest_counted(tmp_path):
    (tmp_path / "scan.pcap").write_bytes(SCAN)
    for number in range(4):
        (tmp_path / f"link{number}").symlink_to(PCAPS)
    assert replay(tmp_path).stderr.count("a link to a folder") == 4
    (tmp_path / "link4").symlink_to(PCAPS)
    said = replay(tmp_path).stderr
    assert said.count("a link to a folder") == 3 and "and 2 more that are neither files nor folders" in said


def test_a_folder_of_nothing_but_a_link_says_so(tmp_path):
    (tmp_path / "link").symlink_to(PCAPS)
    ran = replay(tmp_path)
    assert ran.exit_code == 1 and "no capture among 0 files" in ran.stderr and "link to a folder" in ran.stderr
