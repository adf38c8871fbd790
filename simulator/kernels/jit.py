"""How laws are compiled: IEEE arithmetic, cached, and without counting references to the arrays that they are handed.

Laws make no arrays. numba would all the same count references to each of the twenty arrays of a graph at every call
from one function of a law to another, which took up to two thirds of their time. The option that leaves that out is one
of numba's own compiler flags; where it is not known laws are compiled without it, and are slower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from numba import njit


def _decorator(**options: bool) -> Callable[[Any], Any]:
    compiled: Callable[..., Any] = njit
    try:
        made: Callable[[Any], Any] = compiled(
            cache=True, error_model="numpy", _nrt=False, no_cfunc_wrapper=True, **options
        )
        made(lambda: None)
    except (KeyError, TypeError, ValueError):
        return njit(cache=True, error_model="numpy")
    return made


_PART: Final = _decorator(no_cpython_wrapper=True)
law_kernel: Final = _decorator()
"""Decorator of functions of a law."""


def law_part(function: Callable[..., Any]) -> Any:
    """Decorator of functions that only compiled ones call.

    They are compiled without a way in from Python, which for twenty arrays takes longer than most of them. A call from
    there raises TypeError; ``.py_func`` is the function as it is written.
    """
    made = _PART(function)

    def refuse(*_: Any, **__: Any) -> Any:
        raise TypeError(f"{function.__name__}() is called by compiled functions only; .py_func can be called")

    # Without an overload to choose the dispatcher asks the first of these two, whatever it is called with. If numba
    # names them differently one day, the test of such a call says so.
    made._compile_for_args = refuse
    made._insert = lambda *_, **__: None
    return made
