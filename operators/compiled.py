"""How loops are compiled for the CPU: numba kernels that LLVM can turn into vector code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numba
import torch
from numba.core.compiler import Compiler


class _NoAlias(Compiler):
    """Arrays given to a kernel do not overlap; without that promise LLVM does not vectorise loops over many of them."""

    def define_pipelines(self) -> Any:
        self.state.flags.noalias = True  # type: ignore[attr-defined]
        return super().define_pipelines()


kernel = numba.njit(cache=True, error_model="numpy", nogil=True, pipeline_class=_NoAlias)
"""Decorator of a kernel. Index with unsigned integers: for signed ones numba tests for negative values, which ends
vectorisation."""

parallel_kernel = numba.njit(cache=True, error_model="numpy", nogil=True, parallel=True)
"""Decorator of a loop over faces that calls kernels."""


@contextmanager
def as_many_threads_as_torch() -> Iterator[None]:
    """Inside, parallel loops use no more threads than torch is set to."""
    before = numba.get_num_threads()
    numba.set_num_threads(max(1, min(before, torch.get_num_threads())))
    try:
        yield
    finally:
        numba.set_num_threads(before)
