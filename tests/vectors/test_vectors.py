"""`tools/vectors`: all cases pass, and one that does not is named with what differs."""

import json
import subprocess
import sys

import pytest

from tests.replaying import ROOT

HERE = ROOT / "tests" / "vectors"


def vectors(*arguments):
    command = [sys.executable, ROOT / "tools" / "vectors", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("name", ["sumstats.json", "cluster.json"])
def test_every_case_passes(name):
    ran = vectors(HERE / name)
    cases = json.loads((HERE / name).read_text())
    assert ran.stdout.splitlines() == [f"pass  {case['id']}" for case in cases]
    assert ran.stderr == f"{len(cases)} passed, 0 failed\n"
    assert ran.returncode == 0


def changed(name, change):
    """A case of the files, with one of its expectations changed."""
    cases = [case for path in HERE.glob("*.json") for case in json.loads(path.read_text())]
    [case] = [case for case in cases if case["id"] == name]
    change(case["expect"])
    return case


def _first(expect):
    return expect["epochs"][0]["results"][0]


WRONG = [
    ("basic", lambda expect: _first(expect)["test.metric"].update(sum=222.0), "sum: 221"),
    ("basic", lambda expect: _first(expect)["test.metric"].update(variance=1144.2001), "variance: 1144.2"),
    ("basic", lambda expect: _first(expect).update(key={"str": "1.2.3.4"}), "expected"),
    ("basic", lambda expect: expect["epochs"][0].update(complete=False), "complete: True, expected False"),
    ("basic", lambda expect: expect.update(epochs=[]), "epoch test 0: not expected"),
    ("thresholding", lambda expect: expect["crossed"].pop(), "ratio"),
    ("thresholding", lambda expect: expect["crossed"].append({**expect["crossed"][0], "level": 5}), "it did not"),
    ("thresholding", lambda expect: expect["crossed"][0].update(value=4.0), "3.0, expected 4.0"),
    ("cluster-intermediate-update", lambda expect: expect["crossed"][0].update(before=0.9), "known at 1.0 s"),
    ("on-demand", lambda expect: expect["answers"].append({"test": {"num": 1}}), "answer 1: there is none"),
    ("sample", lambda expect: _first(expect)["test.metric"].update(sample_from=[1]), "never observed so often"),
    ("topk", lambda expect: _first(expect)["test.metric"]["topk"][0].__setitem__(1, 98), "expected [[1, 98, 0]"),
    ("last-and-first-by-time-whatever-the-node", lambda expect: _first(expect)["m"].update(last_elements=[2, 3]), "c"),
]


@pytest.mark.parametrize(("name", "change", "says"), WRONG, ids=[f"{at}-{each[0]}" for at, each in enumerate(WRONG)])
def test_a_case_that_differs_fails_and_says_in_what(tmp_path, name, change, says):
    path = tmp_path / "case.json"
    path.write_text(json.dumps([changed(name, change)]))
    ran = vectors(path, "--json")
    [record] = map(json.loads, ran.stdout.splitlines())
    assert (record["id"], record["passed"]) == (name, False)
    assert says in "\n".join(record["differs"])
    assert ran.returncode == 1


@pytest.mark.parametrize("broken", [{"nodes": ["w1"]}, {"id": "x", "nodes": ["w1"], "sumstats": [{}], "steps": []}])
def test_a_case_that_cannot_be_run_fails_and_the_next_is_run_all_the_same(tmp_path, broken):
    path = tmp_path / "case.json"
    path.write_text(json.dumps([broken, changed("on-demand", lambda expect: None)]))
    ran = vectors(path)
    assert "cannot be run" in ran.stdout
    assert "pass  on-demand" in ran.stdout
    assert ran.returncode == 1


def test_a_file_that_is_none_is_a_usage_error(tmp_path):
    (tmp_path / "broken.json").write_text("[")
    (tmp_path / "other.json").write_text('{"cases": []}')
    for path in (tmp_path / "broken.json", tmp_path / "other.json", tmp_path / "absent.json"):
        ran = vectors(path)
        assert (ran.returncode, ran.stdout) == (2, "")
        assert str(path) in ran.stderr
