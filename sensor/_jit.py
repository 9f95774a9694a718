"""Hands out `njit`, the one way in which this package compiles a kernel.

With Numba the kernel is compiled with bounds checks (memory stays safe whatever a packet claims; measured cost on the
decoder: 12 -> 10 million packets/s), without the GIL, and cached on disk. Where Numba is missing, or may not compile
(systemd's MemoryDenyWriteExecute), or `NUMBA_DISABLE_JIT=1`, the same functions run as plain Python: slow but right,
and `COMPILED` says so.
"""

import functools
import os
from collections.abc import Callable
from typing import Any

import numpy as np

try:
    import numba
except ImportError:
    COMPILED = False
else:
    COMPILED = os.environ.get("NUMBA_DISABLE_JIT", "0") in ("", "0")


def _compile(kernel: Callable[..., Any]) -> Callable[..., Any]:
    options: dict[str, Any] = {"boundscheck": True, "nogil": True, "error_model": "numpy"}
    try:
        compiled: Callable[..., Any] = numba.njit(cache=True, **options)(kernel)
    except RuntimeError:  # no directory is writable for the cache: compile in each process instead
        compiled = numba.njit(**options)(kernel)
    return compiled


def _interpret(kernel: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(kernel)
    def interpreted(*args: Any) -> Any:
        with np.errstate(over="ignore", invalid="ignore"):  # hashes wrap around on purpose; compiled code never warns
            return kernel(*args)

    return interpreted


def _borrowing() -> Callable[..., Any]:
    from numba.core import cgutils
    from numba.extending import intrinsic
    from numba.np import arrayobj

    make_array: Any = arrayobj.make_array
    null: Any = cgutils.get_null_value

    @intrinsic
    def uncounted(typing: Any, array: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            view = make_array(signature.args[0])(context, builder, args[0])
            view.meminfo = null(view.meminfo.type)
            return view._getvalue()

        return array(array), build

    borrowed: Callable[..., Any] = uncounted
    return borrowed


borrow: Callable[..., Any] = _borrowing() if COMPILED else lambda array: array
"""Within a kernel: the same array, without counting who uses it, so that passing it on to other kernels costs nothing.

Numba counts with atomic instructions at each call: a quarter of the flow table's time. Whoever calls the kernel keeps
the array alive; a kernel must not return what it has borrowed.
"""


def njit(kernel: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a kernel, or leave it plain Python where that cannot be done; results are the same."""
    return _compile(kernel) if COMPILED else _interpret(kernel)
