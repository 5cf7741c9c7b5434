"""Metrics for Prometheus: counts of a web process in memory, figures of the database, and the output of both.

The output has Prometheus's own format or the format of OpenMetrics, as the client requests.
"""

import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from typing import TypeVar

from prometheus_client import Metric, disable_created_metrics
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tutumd.model import DURATION_BOUNDS_S, ActionState, ActionTotal, Figures, Operation

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
TAKEOVER = "takeover"
_RESULTS = {
    ActionState.SUCCESS.value: "success",
    ActionState.FAILED.value: "failed",
    ActionState.CANCELED.value: "canceled",
}
_BUCKETS = (*DURATION_BOUNDS_S, None)
_Family = TypeVar("_Family", CounterMetricFamily, GaugeMetricFamily)


def _family(
    kind: Callable[..., _Family],
    name: str,
    text: str,
    labels: Sequence[str],
    values: Iterable[tuple[Sequence[str], float]],
) -> _Family:
    """Return a metric with a value for each combination of the values of its labels."""
    family = kind(f"tutumd_{name}", text, labels=labels)
    for of_labels, value in values:
        family.add_metric(of_labels, value)
    return family


class _Histogram:
    """Counts values by size. The histogram of prometheus_client locks each value: 2 % of the time of a call."""

    def __init__(self, name: str, text: str, bounds: Sequence[float]) -> None:
        self._name, self._text, self._bounds = f"tutumd_{name}", text, bounds
        self._numbers, self._sum = [0] * (len(bounds) + 1), 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._numbers[bisect_left(self._bounds, value)] += 1
        self._sum += value

    def collect(self) -> HistogramMetricFamily:
        """Return the counts."""
        return HistogramMetricFamily(
            self._name, self._text, buckets=_buckets(self._bounds, self._numbers), sum_value=self._sum
        )


def _buckets(bounds: Sequence[float], numbers: Iterable[int]) -> list[tuple[str, int]]:
    """Return the buckets of a histogram, given the number of values in each, which has one more than bounds."""
    return list(zip([*(str(float(bound)) for bound in bounds), "+Inf"], accumulate(numbers), strict=True))


class CallMetrics:
    """Counts calls by result. An instance serves one event loop; any thread may collect the counts."""

    def __init__(self) -> None:
        self._numbers = dict.fromkeys((*_OUTCOMES.values(), _OTHER), 0)
        self._durations = _Histogram(
            "call_duration_seconds",
            "Time from a complete request to the decision on it, which for accepted calls is on disk.",
            _DURATION_BOUNDS_S,
        )
        self._batches = _Histogram(
            "call_batch_size", "Calls that were stored together in one transaction.", _SIZE_BOUNDS
        )
        self.count_batch = self._batches.observe

    def count(self, status: int, began: float) -> None:
        """Count a call.

        Args:
            status: Status of the response, as if the caller does not wait for the end of the action.
            began: Time at which the request was complete, from `time.monotonic`.
        """
        self._numbers[_OUTCOMES.get(status, _OTHER)] += 1
        self._durations.observe(time.monotonic() - began)

    @property
    def total(self) -> int:
        """Total number of counted calls."""
        return sum(self._numbers.values())

    def collect(self) -> Iterator[Metric]:
        """Return the counts."""
        yield _family(
            CounterMetricFamily,
            "calls",
            "Calls of webhook handlers and groups that this web process responded to.",
            ["outcome"],
            [([outcome], number) for outcome, number in self._numbers.items()],
        )
        yield self._durations.collect()
        yield self._batches.collect()


class _Families(list[Metric], Collector):
    def collect(self) -> Iterable[Metric]:
        return self


def render(calls: CallMetrics, figures: Figures | None, version: str, accept: str) -> tuple[bytes, str]:
    """Return all metrics as text, and its content type.

    Args:
        figures: None if the database could not be read: then its figures are missing, and `tutumd_database_up` is 0.
        accept: Header of the request with the formats that the client accepts.
    """
    encode, content_type = choose_encoder(accept)
    families: list[Metric] = [
        InfoMetricFamily("tutumd_build", "Version of this web process.", value={"version": version}),
        GaugeMetricFamily(
            "tutumd_database_up", "Whether this web process can read the database.", value=figures is not None
        ),
        *calls.collect(),
        *(_describe(figures) if figures else ()),
    ]
    return encode(_Families(families)), content_type


def _describe(figures: Figures) -> Iterator[Metric]:
    for name, attribute, text in (
        ("engine_up", "is_up", "Whether a worker serves this engine and the engine answers it."),
        ("slots", "slots", "Actions that the live workers perform on this engine at once, at most."),
        ("runs", "runs", "Actions that a worker performs now."),
        ("actions_pending", "pending", "Actions that wait for a run, or for another try."),
        ("oldest_pending_seconds", "oldest_pending_s", "For how long the first of these has been due."),
    ):
        values = [([engine.name], float(getattr(engine, attribute))) for engine in figures.engines]
        yield _family(GaugeMetricFamily, name, text, ["engine"], values)
    yield GaugeMetricFamily(
        "tutumd_delivery_log_bytes", "What the kept deliveries take, about.", value=figures.delivery_log_bytes
    )
    yield GaugeMetricFamily(
        "tutumd_sqlite_wal_bytes",
        "Size of SQLite's write-ahead log, which grows while another process reads; 0 on PostgreSQL.",
        value=figures.wal_bytes,
    )
    yield from _describe_notifications(figures)
    yield _family(
        GaugeMetricFamily,
        "issuer_keys_age_seconds",
        "Age of an issuer's keys for identity tokens, which are fetched every hour and used for 24 hours.",
        ["issuer"],
        [([url], age_s) for url, age_s in figures.keys_age_s.items()],
    )
    yield from _describe_totals([engine.name for engine in figures.engines], figures.totals)


def _describe_notifications(figures: Figures) -> Iterator[Metric]:
    yield _family(
        CounterMetricFamily,
        "notifications",
        "Notifications that were sent, or that died because no attempt reached the receiver.",
        ["kind", "result"],
        [([each.kind, result], getattr(each, result)) for each in figures.notifications for result in ("sent", "dead")],
    )
    yield _family(
        GaugeMetricFamily,
        "notifications_pending",
        "Notifications that wait for an attempt.",
        ["kind"],
        [([each.kind], each.pending) for each in figures.notifications],
    )
    yield GaugeMetricFamily(
        "tutumd_notification_delay_seconds",
        "For how long a notification has been due that no notifier has claimed.",
        value=figures.notification_delay_s,
    )


def _describe_totals(engines: Sequence[str], totals: Sequence[ActionTotal]) -> Iterator[Metric]:
    """Return the counts. The verbs of handlers have a series from the start: rates need a 0 before the 1."""
    operations = dict.fromkeys((engine, each.value) for engine in engines for each in Operation)
    ended = [total for total in totals if total.event in _RESULTS]
    operations |= dict.fromkeys((total.engine, total.verb) for total in ended)
    yield _family(
        CounterMetricFamily,
        "actions",
        "Actions that ended.",
        ["engine", "operation", "result"],
        [
            (
                [engine, verb, result],
                sum(each.number for each in ended if (each.engine, each.verb, each.event) == (engine, verb, state)),
            )
            for engine, verb in operations
            for state, result in _RESULTS.items()
        ],
    )
    durations = HistogramMetricFamily(
        "tutumd_action_duration_seconds",
        "Time from the beginning of an action to its end.",
        labels=["engine", "operation"],
    )
    for operation in operations:
        ran = [total for total in ended if (total.engine, total.verb) == operation and total.has_run]
        numbers = (sum(total.number for total in ran if total.bound_s == bound) for bound in _BUCKETS)
        durations.add_metric(operation, _buckets(DURATION_BOUNDS_S, numbers), sum(total.seconds for total in ran))
    yield durations
    yield CounterMetricFamily(
        "tutumd_lease_takeovers",
        "Actions that a worker took over from another one whose lease ran out.",
        value=sum(total.number for total in totals if total.event == TAKEOVER),
    )
