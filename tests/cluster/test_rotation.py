"""Rotation: whoever moves the alert file away, or empties it, loses no alert, splits no line and has none twice."""

import asyncio
import json
import os
import shutil
import threading

import pytest

from sensor.node import manager_store as disk_module
from sensor.storage.alert_file import AlertFile
from sensor.storage.durable_folder import Folder
from tests.cluster.nodes import running, speaking, switched_off, until
from tests.storage.test_alert_file import alert, identify

NAME = "alerts.jsonl"


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def path(folder, tmp_path):
    return tmp_path / "state" / NAME


def opened(folder):
    file = AlertFile(folder, NAME, identify)
    file.open()
    return file


def lines(*numbers):
    return b"".join(alert(i)[1] + b"\n" for i in numbers)


def test_a_file_that_was_moved_away_is_left_alone_and_a_new_one_begun(folder, path):
    file, moved = opened(folder), path.with_suffix(".1")
    file.write([alert(1)])
    path.rename(moved)
    assert file.write([alert(1), alert(2)]) == 1
    assert (moved.read_bytes(), path.read_bytes()) == (lines(1), lines(2))


def test_a_file_that_was_made_in_its_place_is_written_to_as_it_is(folder, path):
    file, moved = opened(folder), path.with_suffix(".1")
    file.write([alert(1)])
    path.rename(moved)
    path.write_bytes(lines(7))
    path.chmod(0o640)
    file.write([alert(2)])
    assert (moved.read_bytes(), path.read_bytes()) == (lines(1), lines(7, 2))
    assert path.stat().st_mode & 0o777 == 0o640


def test_a_file_that_was_removed_is_made_anew(folder, path):
    file = opened(folder)
    file.write([alert(1)])
    path.unlink()
    file.write([alert(2)])
    assert path.read_bytes() == lines(2)


def test_a_file_that_was_copied_and_emptied_goes_on_at_its_beginning(folder, path):
    file = opened(folder)
    file.write([alert(1), alert(2)])
    os.truncate(path, 0)
    file.write([alert(3)])
    file.write([alert(2), alert(4)])
    assert path.read_bytes() == lines(3, 4)


def test_nothing_is_told_again_after_many_rotations_and_only_one_file_is_open(folder, path):
    file = opened(folder)
    for i in range(100):
        file.write([alert(i)])
        path.rename(path.with_suffix(f".{i}"))
        assert file.write([alert(n) for n in range(i + 1)]) == 0
        assert not path.exists()
    assert [path.with_suffix(f".{i}").read_bytes() for i in range(100)] == [lines(i) for i in range(100)]
    assert len([each for each in os.listdir("/proc/self/fd") if NAME in _target(each)]) <= 1


def _target(number):
    try:
        return os.readlink(f"/proc/self/fd/{number}")
    except OSError:
        return ""


@pytest.mark.parametrize("creates", [False, True])
def test_no_line_is_lost_or_split_while_somebody_rotates_all_the_time(folder, path, creates):
    file, rotated, is_over = opened(folder), 0, threading.Event()

    def rotate():
        nonlocal rotated
        while not is_over.is_set():
            if path.exists():
                path.rename(path.with_suffix(f".{rotated}"))
                rotated += 1
                if creates:
                    path.touch()

    rotates = threading.Thread(target=rotate)
    rotates.start()
    try:
        for i in range(0, 600, 2):
            file.write([alert(i), alert(i + 1)])
    finally:
        is_over.set()
        rotates.join()
    files = [path.with_suffix(f".{n}") for n in range(rotated)] + [path] * path.exists()
    assert rotated > 20
    assert b"".join(each.read_bytes() for each in files) == lines(*range(600))


def test_half_a_line_that_a_full_disk_left_does_not_go_with_the_file(folder, path, monkeypatch):
    file, moved = opened(folder), path.with_suffix(".1")
    file.write([alert(1)])
    append, truncate = folder.append, folder.truncate

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    def half(name, data):
        append(name, data[: len(data) // 2])
        fail()

    monkeypatch.setattr(folder, "append", half)
    monkeypatch.setattr(folder, "truncate", fail)
    file.write([alert(2)])
    path.rename(moved)
    monkeypatch.setattr(folder, "append", append)
    monkeypatch.setattr(folder, "truncate", truncate)
    file.write([])
    assert (moved.read_bytes(), path.read_bytes()) == (lines(1), lines(2))


def told(*paths):
    """The alerts in files, by their ids."""
    return [json.loads(line)["id"] for each in paths if each.exists() for line in each.read_text().splitlines()]


@pytest.mark.parametrize("ends", ["in order", "in a crash"])
def test_a_manager_that_begins_anew_tells_nothing_again_that_is_in_a_file_that_was_moved_away(tmp_path, ends):
    state, moved = tmp_path / "state", tmp_path / "alerts.jsonl.1"
    path = state / disk_module.ALERTS

    async def first():
        async with running(state) as node, speaking(node) as a, speaking(node, "b") as b:
            a.say(switched_off("a", 1))
            b.say(switched_off("b", 1))
            await until(lambda: len(told(path)) == 2, "two alerts")
            await until(lambda: not node._waiting_bytes and node._disk._is_marked, "all to be durable")
            path.rename(moved)
            if ends == "in a crash":
                shutil.copytree(state, tmp_path / "crashed")

    async def second(found):
        async with running(found) as node, speaking(node, "c") as c:
            c.say(switched_off("c", 1))
            await until(lambda: told(found / disk_module.ALERTS), "a third alert")

    asyncio.run(first())
    found = tmp_path / "crashed" if ends == "in a crash" else state
    asyncio.run(second(found))
    ids = told(moved, found / disk_module.ALERTS)
    assert len(ids) == len(set(ids)) == 3


def test_a_manager_that_crashed_before_it_wrote_an_alert_tells_it(tmp_path):
    state = tmp_path / "state"

    async def first():
        async with running(state) as node, speaking(node) as a:
            node._disk._alerts._flush = lambda: False  # the process has only so long to live
            a.say(switched_off("a", 1))
            await until(lambda: node._disk.counters["alerts_waiting"] and not node._pending.alerts, "an alert")
            shutil.copytree(state, tmp_path / "crashed")

    async def second():
        async with running(tmp_path / "crashed"):
            assert len(told(tmp_path / "crashed" / disk_module.ALERTS)) == 1

    asyncio.run(first())
    asyncio.run(second())
