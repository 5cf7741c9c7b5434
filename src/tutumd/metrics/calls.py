"""Metrics of calls, counted in the memory of the web process that responded to them."""

import time
from collections import Counter
from collections.abc import Iterator

from prometheus_client import Histogram, Metric, disable_created_metrics
from prometheus_client.core import CounterMetricFamily

disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types

_OUTCOMES = {
    200: "skipped",
    202: "accepted",
    401: "unauthorized",
    404: "not_found",
    429: "limited",
    500: "error",
    503: "unavailable",
}
_OTHER = "invalid"
_DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class CallMetrics:
    """Counts calls by what became of them. For one event loop; any thread may collect what was counted."""

    def __init__(self) -> None:
        self._statuses: Counter[int] = Counter()
        text = "Time from a complete request to the decision on it, which for accepted calls is on disk."
        self._durations = Histogram("tutumd_call_duration_seconds", text, registry=None, buckets=_DURATION_BOUNDS_S)
        text = "Calls that were stored together in one transaction."
        self._batches = Histogram("tutumd_call_batch_size", text, registry=None, buckets=_SIZE_BOUNDS)
        self.count_batch = self._batches.observe

    def count(self, status: int, began: float) -> None:
        """Count a call.

        Args:
            status: Of the response, if the caller does not wait for the end of the action.
            began: When the request was complete, as of `time.monotonic`.
        """
        self._statuses[status] += 1
        self._durations.observe(time.monotonic() - began)

    @property
    def total(self) -> int:
        """How many calls were counted."""
        return sum(self._statuses.values())

    def collect(self) -> Iterator[Metric]:
        """Return what was counted."""
        numbers = dict.fromkeys((*_OUTCOMES.values(), _OTHER), 0)
        for status, number in list(self._statuses.items()):
            numbers[_OUTCOMES.get(status, _OTHER)] += number
        text = "Calls of webhook handlers that this web process responded to."
        calls = CounterMetricFamily("tutumd_calls", text, labels=["outcome"])
        for outcome, number in numbers.items():
            calls.add_metric([outcome], number)
        yield calls
        yield from self._durations.collect()
        yield from self._batches.collect()
