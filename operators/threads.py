"""Plain threads for compiled code that lets go of the interpreter lock."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import torch


def share(work: Callable[[int, int], None], items: int) -> None:
    """Call `work(first, step)` so that every item in first, first + step, ... is done once; threads: as many as torch uses."""
    step = max(1, min(torch.get_num_threads(), items))
    if step == 1:
        return work(0, 1)
    parts = [_pool(os.getpid(), step).submit(work, first, step) for first in range(1, step)]
    try:
        work(0, step)
    finally:
        results = [part.exception() for part in parts]
    for error in results:
        if error is not None:
            raise error


@lru_cache(maxsize=4)
def _pool(process: int, threads: int) -> ThreadPoolExecutor:
    """Threads do not survive a fork, so each process has its own."""
    return ThreadPoolExecutor(threads - 1, thread_name_prefix=f"share-{process}")
