"""How loops are compiled for the CPU: numba kernels that LLVM can turn into vector code."""

from __future__ import annotations

from typing import Any

import numba
from numba.core.compiler import Compiler


class _NoAlias(Compiler):
    """Arrays given to a kernel do not overlap; without that promise LLVM does not vectorise loops over many of them."""

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True  # type: ignore[attr-defined]
        return super().define_pipelines()


kernel = numba.njit(cache=True, error_model="numpy", nogil=True, pipeline_class=_NoAlias)
"""Decorator of a kernel. Unsigned indices keep numba from adding the wrap-around of negative ones, which would end
vectorisation. Kernels let go of the interpreter lock: share faces among threads with `operators.threads.share`."""
