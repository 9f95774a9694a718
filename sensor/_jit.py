"""Hands out `njit`, the one way in which this package compiles a kernel.

With Numba the kernel is compiled with bounds checks (memory stays safe whatever a packet claims; measured cost on the
decoder: 16 -> 14 million packets/s), without the GIL, and cached on disk. Where Numba is missing, or may not compile
(systemd's MemoryDenyWriteExecute), or `NUMBA_DISABLE_JIT=1`, the same functions run as plain Python: slow but right,
and `COMPILED` says so.
"""

import contextlib
import functools
import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from sensor._turns import Turns

COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")
if COMPILED:
    try:
        import numba
    except (ImportError, OSError):  # OSError: no memory may be made executable, and Numba finds out at once
        COMPILED = False


_OLD_S = 30 * 86400

_kernels: list[Any] = []


def _kept_in() -> str:
    """Where Numba keeps kernels of all modules; "": nowhere, or beside each."""
    config: Any = numba.config
    return str(config.CACHE_DIR)


turns = Turns(_kept_in)
"""Whose turn it is to compile."""


def _cache_folder() -> Path:
    """Where compiled kernels are kept: a folder for just these sources.

    Numba looks at a kernel's own file only, and would go on with what it inlined from another that has changed since.
    """
    package = Path(__file__).parent
    digest = hashlib.sha256(numba.__version__.encode())
    for source in sorted(package.rglob("*.py")):
        stat = source.stat()
        digest.update(f"{source} {stat.st_mtime_ns} {stat.st_size}".encode())
    is_root = os.geteuid() == 0
    base = Path("/var/cache") if is_root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return base / "sensor" / f"kernels-{digest.hexdigest()[:16]}"


def _use_cache(folder: Path) -> None:
    """Keep kernels there, unless Numba was told where, and remove what has not been used for a month."""
    config: Any = numba.config
    if config.CACHE_DIR:
        return
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    newest = folder.stat().st_mtime
    for other in folder.parent.glob("kernels-*"):
        if newest - other.stat().st_mtime > _OLD_S:
            shutil.rmtree(other, ignore_errors=True)
    config.CACHE_DIR = str(folder)


if COMPILED:
    with contextlib.suppress(OSError, RuntimeError):  # no home, or nowhere to write: Numba finds another place or none
        _use_cache(_cache_folder())


def compiled_now() -> int:
    """How many kernels this process had to compile, because they were not in the cache."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _kernels)


def is_cold() -> bool:
    """Whether there is a cache, and nothing in it: all will have to be compiled, by whoever needs it first."""
    folder = _kept_in() if COMPILED else ""
    return bool(folder) and next(Path(folder).rglob("*.nbi"), None) is None


def keep_in_memory() -> None:
    """Save no kernel from now on: this process has become another user, who may not write where the cache is.

    What is there is loaded where it may be read: to compile a kernel takes seconds, in which packets are not taken.
    """
    for kernel in _kernels if COMPILED else ():
        kernel._cache.save_overload = lambda signature, compiled: None
        kernel._cache.load_overload = functools.partial(_load, kernel._cache.load_overload)


def _load(load: Callable[..., Any], signature: Any, target: Any) -> Any:
    try:
        return load(signature, target)
    except OSError:  # the cache is for root's eyes only
        return None


def _compile(kernel: Callable[..., Any], allocates: bool) -> Callable[..., Any]:
    options: dict[str, Any] = {"boundscheck": True, "nogil": True, "error_model": "numpy", "_nrt": allocates}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(kernel)
    except RuntimeError:  # no directory is writable for the cache: compile in each process instead
        compiled = numba.njit(**options)(kernel)
    _kernels.append(compiled)
    found: Any = compiled
    found._cache.load_overload = functools.partial(turns.load, found._cache.load_overload)
    found.compile = functools.partial(turns.compile, found.compile)
    return compiled


def _interpret(kernel: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(kernel)
    def interpreted(*args: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):  # hashes wrap around on purpose; compiled code never warns
            return kernel(*args)

    return interpreted


def njit(kernel: Callable[..., Any] | None = None, *, allocates: bool = False) -> Callable[..., Any]:
    """Compile a kernel, or leave it plain Python where that cannot be done; results are the same.

    A kernel works on what it is given. It makes no array, sorts none and assigns none to another: Numba refuses to
    compile what does. Nor does it return one, not even a view or its argument: Numba refuses some of that, and a test
    the rest. So nobody need count who holds an array, as Numba otherwise does at each call and each view, with atomic
    instructions: half of the decoder's time, a quarter of the flow table's. A kernel that `allocates` may do all that
    but return an array.
    """
    if kernel is None:
        return functools.partial(njit, allocates=allocates)
    return _compile(kernel, allocates) if COMPILED else _interpret(kernel)


LINE = 64
"""Bytes of a cache line."""


def _prefetching() -> Callable[..., Any]:
    from llvmlite import ir
    from numba.core import types
    from numba.extending import intrinsic
    from numba.np import arrayobj

    make_array: Any = arrayobj.make_array
    byte, number = ir.IntType(8), ir.IntType(32)
    hint = ir.FunctionType(ir.VoidType(), [byte.as_pointer(), number, number, number])
    to_read, keep, is_data = (ir.Constant(number, each) for each in (0, 3, 1))

    @intrinsic
    def prefetched(typing: Any, array: Any, at: Any, offset: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            view = make_array(signature.args[0])(context, builder, args[0])
            where = builder.add(builder.mul(args[1], view.itemsize), args[2])
            where = builder.gep(builder.bitcast(view.data, byte.as_pointer()), [where])
            function = builder.module.declare_intrinsic("llvm.prefetch", [where.type], hint)
            builder.call(function, [where, to_read, keep, is_data])
            return context.get_dummy_value()

        return types.none(array, types.intp, types.intp), build

    return prefetched


prefetch: Callable[..., Any] = _prefetching() if COMPILED else lambda array, at, offset: None
"""Within a kernel: have memory bring the cache line of array[at], so many bytes after its beginning, without waiting.

What some dozens of rows will need is asked for before the first of them is worked on, so that memory is waited for once
and not row by row. The array has no gaps. It is a hint, which reads nothing: no place is out of bounds for it.
"""
