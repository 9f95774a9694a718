"""Kernels give the same compiled and not, and what is compiled is found again, until a source changes."""

import ast
import os
import subprocess
import sys

import pytest

from tests.replaying import PCAPS, ROOT

RUN = """
import sys
from sensor import _jit
from sensor.hash import hash_words
import numpy as np
with np.errstate(over="ignore"):
    print(hash_words(np.array([1, 2], np.uint64), np.arange(5, dtype=np.uint64)), _jit.COMPILED)
print(_jit.compiled_now() if _jit.COMPILED else 0)
"""


def run(code=RUN, *arguments, **environment):
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=ROOT, env=os.environ | environment
    ).stdout


def test_a_kernel_gives_the_same_where_it_cannot_be_compiled():
    compiled, interpreted = run().split(), run(NUMBA_DISABLE_JIT="1").split()
    assert compiled[0] == interpreted[0]
    assert (compiled[1], interpreted[1]) == ("True", "False")


def test_a_kernel_may_not_make_an_array_unless_it_says_so_and_may_return_none():
    """As nothing is counted, either would be a use of memory that is free."""
    code = """
import numba, numpy as np
from sensor._jit import njit
def fill(n):
    total = 0
    for each in np.ones(n, np.int64):
        total += each
    return total
def rest(array):
    return array[1:]
print(njit(allocates=True)(fill)(3))
for kernel, given in ((fill, 3), (rest, np.ones(3))):
    try:
        njit(kernel)(given)
    except numba.core.errors.NumbaError:
        print("refused")
"""
    assert run(code).split() == ["3", "refused", "refused"]


def kernels(source):
    """The functions of a module that are compiled."""
    for each in ast.walk(ast.parse(source)):
        if isinstance(each, ast.FunctionDef) and any("njit" in ast.unparse(by) for by in each.decorator_list):
            yield each


def may_return_an_array(kernel):
    """Whether it returns a slice, or what it takes items or the shape of."""
    used = [each.value for each in ast.walk(kernel) if isinstance(each, ast.Subscript | ast.Attribute)]
    arrays = {each.id for each in used if isinstance(each, ast.Name)}
    given = [each.value for each in ast.walk(kernel) if isinstance(each, ast.Return) and each.value]
    parts = [part for each in given for part in (each.elts if isinstance(each, ast.Tuple) else [each])]
    return any(
        (isinstance(part, ast.Name) and part.id in arrays)
        or (isinstance(part, ast.Subscript) and any(isinstance(inner, ast.Slice) for inner in ast.walk(part.slice)))
        for part in parts
    )


def test_no_kernel_returns_an_array_as_nobody_would_count_who_holds_it():
    """Numba lets an argument pass, and a view in a tuple."""
    found = [(path, each) for path in ROOT.glob("sensor/**/*.py") for each in kernels(path.read_text())]
    assert len(found) > 250
    assert [(path.name, each.name) for path, each in found if may_return_an_array(each)] == []
    for text in ("return a", "return a[1:], 1", "return 1, a", "return a[0:2, 3]"):
        assert all(map(may_return_an_array, kernels(f"@njit\ndef f(a):\n    b = a[0]\n    {text}\n")))


def test_a_read_out_of_bounds_is_an_error_and_shows_nobody_elses_memory():
    code = """
import numpy as np
from sensor._jit import njit
def read(array, at):
    return array[at]
for at in (0, 2, 3, 1 << 40, -4):
    try:
        print(njit(read)(np.ones(3, np.int64), at))
    except IndexError:
        print("refused")
"""
    assert run(code).split() == ["1", "1", *["refused"] * 3]


def test_what_is_asked_for_beforehand_may_lie_anywhere_and_changes_nothing():
    code = """
import numpy as np
from sensor._jit import njit, prefetch
def ask(array, at, offset):
    prefetch(array, at, offset)
    return array.sum()
for kind in (np.uint8, np.int64, [("a", "i8"), ("b", "i8")]):
    array = np.ones(4, kind)
    if array.dtype.names:
        array = array["a"]
    for at, offset in ((0, 0), (3, 1), (4, 0), (-1, 0), (1 << 62, 0), (0, -(1 << 40))):
        assert njit(ask)(array, at, offset) == 4
print("fine")
"""
    assert run(code).split() == run(code, NUMBA_DISABLE_JIT="1").split() == ["fine"]


def test_a_kernel_is_compiled_once_and_then_found(tmp_path):
    first, second = (run(NUMBA_CACHE_DIR=str(tmp_path)).split()[2] for _ in range(2))
    assert int(first) > 0
    assert int(second) == 0


def test_a_source_that_changes_leaves_the_old_kernels_behind():
    code = """
import os, pathlib, sys
from sensor import _jit
before = _jit._cache_folder()
source = pathlib.Path(_jit.__file__)
times = source.stat()
try:
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns + 1_000_000))
    print(before != _jit._cache_folder())
finally:
    os.utime(source, ns=(times.st_atime_ns, times.st_mtime_ns))
print(before == _jit._cache_folder())
"""
    assert run(code).split() == ["True", "True"]


def test_a_whole_run_gives_the_same_alerts_without_compiling():
    code = "import sys; from sensor.cli.main import main; sys.argv[1:] = ['replay', '--json', sys.argv[1]]; main()"
    capture = PCAPS / "port-scan-under-the-line.pcap"
    scan = PCAPS / "address-scan-syn.pcap"
    for file in (capture, scan):
        compiled, interpreted = run(code, file), run(code, file, NUMBA_DISABLE_JIT="1")
        assert compiled.splitlines()[:-1] == interpreted.splitlines()[:-1]


def test_kernels_run_uncompiled_where_memory_may_not_be_made_executable():
    code = """
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1
if libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0):
    raise SystemExit
"""
    printed = run(code + RUN).split()
    if not printed:
        pytest.skip("this kernel has no PR_SET_MDWE (Linux 6.3)")
    assert printed[:2] == [run().split()[0], "False"]


def test_kernels_run_uncompiled_where_numba_is_missing():
    assert run("import sys; sys.modules['numba'] = None" + RUN).split()[:2] == [run().split()[0], "False"]


ALONE = """
import logging, sys
logging.basicConfig(format="sensor: %(message)s")
from sensor import _jit
from sensor.node.warm import warm_up
from sensor.config import configure
warm_up(configure((), (), ()))
print(_jit.compiled_now())
"""


def test_of_several_processes_that_need_kernels_at_once_one_compiles_each_and_it_is_said(tmp_path):
    command = [sys.executable, "-c", ALONE]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path / "together")}
    started = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=ROOT, env=environment) for _ in range(3)]
    told = [process.communicate(timeout=500) for process in started]
    kept = len(list((tmp_path / "together").rglob("*.nbc")))
    assert sum(int(out) for out, _ in told) == kept > 100
    for _, said in told:
        assert said.count("sensor: kernels are being compiled, which takes about half a minute") <= 1
    assert any("kernels are being compiled" in said for _, said in told)


def test_a_replay_without_a_terminal_says_that_kernels_are_compiled_and_the_next_one_nothing(tmp_path):
    command = [sys.executable, "-m", "sensor", "replay", "--workers", "2", PCAPS / "port-scan-syn.pcap"]
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    first, second = (
        subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT, env=environment) for _ in range(2)
    )
    line = "sensor: kernels are being compiled, which takes about half a minute; the next run finds them\n"
    assert (first.stderr, second.stderr) == (line, "")


def test_a_process_that_holds_the_turn_and_does_nothing_is_waited_for_only_so_long(tmp_path):
    code = f"""
import fcntl, logging, os, sys
logging.basicConfig(format="%(message)s", stream=sys.stdout)
from sensor import _turns
_turns.WAIT_S = 1.5
held = open({str(tmp_path / "lock")!r}, "w")
fcntl.flock(held, fcntl.LOCK_EX)
from sensor.hash import hash_words
import numpy as np
from sensor import _jit
hash_words(np.array([1, 2], np.uint64), np.arange(5, dtype=np.uint64))
print(_jit.compiled_now() > 0)
"""
    *said, last = run(code, NUMBA_CACHE_DIR=str(tmp_path)).splitlines()
    assert last == "True"
    assert said == ["another process compiles kernels; waiting for it, for three minutes at most"]
