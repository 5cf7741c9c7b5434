"""Metrics of calls, counted in the memory of the web process that responded to them."""

import time

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

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
_DURATION_BOUNDS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)
_SIZE_BOUNDS = (1, 2, 4, 8, 16, 32, 64, 128, 256)

disable_created_metrics()  # type: ignore[no-untyped-call] # it has no types


class CallMetrics:
    """Counts calls by what became of them. For one event loop.

    Attributes:
        registry: Collects what was counted.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        calls = Counter(
            "tutumd_calls",
            "Calls of webhook handlers that this web process responded to.",
            ["outcome"],
            registry=self.registry,
        )
        self._counters = {name: calls.labels(name) for name in (*_OUTCOMES.values(), _OTHER)}
        self._durations = Histogram(
            "tutumd_call_duration_seconds",
            "Time from a complete request to the decision on it, which for accepted calls is on disk.",
            buckets=_DURATION_BOUNDS_S,
            registry=self.registry,
        )
        self.count_batch = Histogram(
            "tutumd_call_batch_size",
            "Calls that were stored together in one transaction.",
            buckets=_SIZE_BOUNDS,
            registry=self.registry,
        ).observe

    def count(self, status: int, began: float) -> None:
        """Count a call.

        Args:
            status: Of the response, if the caller does not wait for the end of the action.
            began: When the request was complete, as of `time.monotonic`.
        """
        self._counters[_OUTCOMES.get(status, _OTHER)].inc()
        self._durations.observe(time.monotonic() - began)
