import os
import signal

import pytest

from jobs.stopping import Stopped, StopSignals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_becomes_an_exception_and_handlers_come_back(number):
    before = signal.getsignal(number)
    with StopSignals() as signals, pytest.raises(Stopped) as stop:
        signals.check()
        os.kill(os.getpid(), number)
    assert stop.value.number == number and signal.getsignal(number) == before


class Dying:
    """Its finalizer is hit by the signal: Python prints what is raised there and goes on."""

    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)
        for _ in range(1000):
            pass


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_python_drops_comes_back_after_the_unit():
    with StopSignals() as signals:
        thing = Dying()
        del thing  # raises nothing here
        with pytest.raises(Stopped) as stop:
            signals.check()
    assert stop.value.number == signal.SIGTERM
