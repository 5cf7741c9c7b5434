"""A request to stop the process, made by a signal or by a thread."""

import signal
from queue import Empty, SimpleQueue

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

# A signal that the system delivers to another thread does not wake the main thread, which alone handles it.
_SIGNAL_POLL_S = 0.5


class StopRequest:
    """Made in the main thread, which alone waits."""

    def __init__(self) -> None:
        """Take SIGINT and SIGTERM for requests from now on."""
        # Not an Event: its `set` hangs for good if the signal comes while `wait` holds the lock of the two.
        self._requests: SimpleQueue[None] = SimpleQueue()
        for number in _SIGNALS:
            signal.signal(number, lambda *_: self.make())
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)  # `tutumd serve` blocks them for its worker

    def make(self) -> None:
        """Make the request; any thread may."""
        self._requests.put(None)

    def wait(self) -> None:
        """Wait for a request. From then on a signal ends the process at once."""
        while True:
            try:
                self._requests.get(timeout=_SIGNAL_POLL_S)
                break
            except Empty:
                continue
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL)
