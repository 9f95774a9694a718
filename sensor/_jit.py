"""Provide `njit`, the only way this package compiles a kernel.

With Numba, kernels are compiled with bounds checks (memory stays safe whatever a packet claims; measured cost on the
decoder: 16 -> 14 million packets/s), without the GIL, and cached on disk. Where Numba is missing or may not compile
(systemd's MemoryDenyWriteExecute), or with `NUMBA_DISABLE_JIT=1`, the same functions run as plain Python: slow but
correct, and `COMPILED` is False.
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
    except (ImportError, OSError):  # OSError: the system forbids executable memory; Numba fails at import
        COMPILED = False


_OLD_S = 30 * 86400

_kernels: list[Any] = []


def _kept_in() -> str:
    """Return Numba's one cache folder for all modules; "": none, or one beside each module."""
    config: Any = numba.config
    return str(config.CACHE_DIR)


turns = Turns(_kept_in)
"""This process's turns at compiling kernels."""


def _cache_folder() -> Path:
    """Return the cache folder for kernels compiled from exactly these sources.

    Numba checks only the kernel's own file, and would reuse code inlined from another file that has changed since.
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
    """Cache kernels in `folder`, unless Numba has a cache folder set; remove folders unused for a month."""
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
    with contextlib.suppress(OSError, RuntimeError):  # no home or not writable: Numba finds another folder or none
        _use_cache(_cache_folder())


def compiled_now() -> int:
    """Return the number of kernels that this process compiled because the cache lacked them."""
    return sum(sum(kernel.stats.cache_misses.values()) for kernel in _kernels)


def is_cold() -> bool:
    """True if there is a cache and it is empty, so the first use compiles every kernel."""
    folder = _kept_in() if COMPILED else ""
    return bool(folder) and next(Path(folder).rglob("*.nbi"), None) is None


def keep_in_memory() -> None:
    """Stop saving kernels: after a change of user, this process may not write to the cache.

    Kernels in the cache are still loaded if readable: compiling one takes seconds in which no packets are taken.
    """
    for kernel in _kernels if COMPILED else ():
        kernel._cache.save_overload = lambda signature, compiled: None
        kernel._cache.load_overload = functools.partial(_load, kernel._cache.load_overload)


def _load(load: Callable[..., Any], signature: Any, target: Any) -> Any:
    try:
        return load(signature, target)
    except OSError:  # only root may read the cache
        return None


def _compile(kernel: Callable[..., Any], allocates: bool) -> Callable[..., Any]:
    options: dict[str, Any] = {"boundscheck": True, "nogil": True, "error_model": "numpy", "_nrt": allocates}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(kernel)
    except RuntimeError:  # no writable cache folder: compile in each process instead
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
    """Compile a kernel, or leave it as plain Python where it cannot be compiled; results are the same.

    A kernel only works on its arguments. It does not create, sort or assign whole arrays: Numba refuses to compile
    that. It returns no array, not even a view or its argument: Numba refuses some of these cases, and a test the rest.
    Numba then needs no reference counts, which it otherwise updates with atomic instructions at each call and each
    view: half of the decoder's time, a quarter of the flow table's. A kernel with `allocates` may do all that except
    return an array.
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
"""Within a kernel: prefetch the cache line `offset` bytes after the start of array[at], without waiting for memory.

A kernel prefetches the data of some dozens of rows before it works on the first, and so waits for memory once instead
of row by row. The array has no gaps. A prefetch is a hint that reads nothing: no address is out of bounds for it."""
