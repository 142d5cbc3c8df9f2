"""Ctrl-C and SIGTERM end a run between two lines of Python, at the latest after the unit that is being done."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any, NoReturn

NUMBERS = (signal.SIGINT, signal.SIGTERM)


class Stopped(KeyboardInterrupt):
    """Ctrl-C or SIGTERM; `number` is the signal's."""

    def __init__(self, number: int):
        super().__init__()
        self.number = number


class StopSignals:
    """While this context is open both signals raise `Stopped` in the main thread.

    Python drops what is raised in finalizers and in callbacks from C, so `check` raises it again: call it after every unit.
    """

    def __init__(self) -> None:
        self.number: int | None = None
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignals:
        self._previous = {number: signal.signal(number, self._stop) for number in NUMBERS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def check(self) -> None:
        """Raise `Stopped` if a signal has come."""
        if self.number is not None:
            raise Stopped(self.number)

    def _stop(self, number: int, frame: FrameType | None) -> NoReturn:
        self.number = number
        raise Stopped(number)
