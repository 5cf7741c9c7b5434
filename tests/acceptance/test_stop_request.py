"""A signal at any moment of the worker's wait for it."""

import subprocess
import sys

import pytest

# Sends itself two signals in a row at the first, second, … function that is called while the process waits.
SIGNAL_AT_EACH_CALL = """
import faulthandler, os, signal, sys
from tutumd.main.child_process import StopRequest

faulthandler.dump_traceback_later(240, exit=True)
for moment in range(1, 16):
    stop, calls = StopRequest(), 0

    def signal_at_call(frame, event, argument):
        global calls
        if frame.f_code is signal.signal.__code__:
            sys.setprofile(None)  # it does not wait any more
        elif event in ("call", "c_call"):
            calls += 1
            if calls in (moment, moment + 1):
                os.kill(os.getpid(), signal.SIGTERM)

    signal.signal(signal.SIGALRM, lambda *_: stop.make())  # for a moment that does not come
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    sys.setprofile(signal_at_call)
    stop.wait()
    assert calls
    signal.setitimer(signal.ITIMER_REAL, 0)
print("stopped each time")
"""


@pytest.mark.slow
def test_a_signal_at_any_moment_stops_the_worker() -> None:
    command = [sys.executable, "-c", SIGNAL_AT_EACH_CALL]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.stdout == "stopped each time\n", done.stderr
