"""Metrics for Prometheus: counts of a web process in memory, figures of the database, and the output of both.

The output has Prometheus's own format or the format of OpenMetrics, as the client requests.
"""

import time
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import Histogram, Metric, disable_created_metrics
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
_BUCKET_NAMES = (*(f"{bound:.1f}" for bound in DURATION_BOUNDS_S), "+Inf")


class CallMetrics:
    """Counts calls by result. An instance serves one event loop; any thread may collect the counts."""

    def __init__(self) -> None:
        self._numbers = dict.fromkeys((*_OUTCOMES.values(), _OTHER), 0)
        text = "Time from a complete request to the decision on it, which for accepted calls is on disk."
        self._durations = Histogram("tutumd_call_duration_seconds", text, registry=None, buckets=_DURATION_BOUNDS_S)
        text = "Calls that were stored together in one transaction."
        self._batches = Histogram("tutumd_call_batch_size", text, registry=None, buckets=_SIZE_BOUNDS)
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
        text = "Calls of webhook handlers and groups that this web process responded to."
        calls = CounterMetricFamily("tutumd_calls", text, labels=["outcome"])
        for outcome, number in self._numbers.items():
            calls.add_metric([outcome], number)
        yield calls
        yield from self._durations.collect()
        yield from self._batches.collect()


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(calls: CallMetrics, figures: Figures | None, version: str, accept: str) -> tuple[bytes, str]:
    """Return all metrics as text, and its content type.

    Args:
        figures: None if the database could not be read: then its figures are missing, and `tutumd_database_up` is 0.
        accept: Header of the request with the formats that the client accepts.
    """
    encode, content_type = choose_encoder(accept)
    families = [*_describe_server(version, figures), *calls.collect(), *_describe(figures)]
    return encode(_Families(families)), content_type


def _describe_server(version: str, figures: Figures | None) -> Iterator[Metric]:
    info = InfoMetricFamily("tutumd_build", "Version of this web process.")
    info.add_metric([], {"version": version})
    yield info
    is_up = figures is not None
    yield GaugeMetricFamily("tutumd_database_up", "Whether this web process can read the database.", value=is_up)


def _describe(figures: Figures | None) -> Iterator[Metric]:
    if figures is None:
        return
    for name, attribute, text in (
        ("engine_up", "is_up", "Whether a worker serves this engine and the engine answers it."),
        ("slots", "slots", "Actions that the live workers perform on this engine at once, at most."),
        ("runs", "runs", "Actions that a worker performs now."),
        ("actions_pending", "pending", "Actions that wait for a run, or for another try."),
        ("oldest_pending_seconds", "oldest_pending_s", "For how long the first of these has been due."),
    ):
        gauge = GaugeMetricFamily(f"tutumd_{name}", text, labels=["engine"])
        for engine in figures.engines:
            gauge.add_metric([engine.name], float(getattr(engine, attribute)))
        yield gauge
    yield GaugeMetricFamily(
        "tutumd_delivery_log_bytes", "What the kept deliveries take, about.", value=figures.delivery_log_bytes
    )
    text = "Size of SQLite's write-ahead log, which grows while another process reads; 0 on PostgreSQL."
    yield GaugeMetricFamily("tutumd_sqlite_wal_bytes", text, value=figures.wal_bytes)
    yield from _describe_notifications(figures)
    text = "Age of an issuer's keys for identity tokens, which are fetched every hour and used for 24 hours."
    ages = GaugeMetricFamily("tutumd_issuer_keys_age_seconds", text, labels=["issuer"])
    for url, age_s in figures.keys_age_s.items():
        ages.add_metric([url], age_s)
    yield ages
    yield from _describe_totals([engine.name for engine in figures.engines], figures.totals)


def _describe_notifications(figures: Figures) -> Iterator[Metric]:
    text = "Notifications that were sent, or that died because no attempt reached the receiver."
    told = CounterMetricFamily("tutumd_notifications", text, labels=["kind", "result"])
    pending = GaugeMetricFamily(
        "tutumd_notifications_pending", "Notifications that wait for an attempt.", labels=["kind"]
    )
    for each in figures.notifications:
        told.add_metric([each.kind, "sent"], each.sent)
        told.add_metric([each.kind, "dead"], each.dead)
        pending.add_metric([each.kind], each.pending)
    yield from (told, pending)
    text = "For how long a notification has been due that no notifier has claimed."
    yield GaugeMetricFamily("tutumd_notification_delay_seconds", text, value=figures.notification_delay_s)


def _describe_totals(engines: Sequence[str], totals: Sequence[ActionTotal]) -> Iterator[Metric]:
    """Return the counts. The verbs of handlers have a series from the start: rates need a 0 before the 1."""
    operations = dict.fromkeys((engine, each.value) for engine in engines for each in Operation)
    ended = [total for total in totals if total.event in _RESULTS]
    operations |= dict.fromkeys((total.engine, total.verb) for total in ended)
    actions = CounterMetricFamily("tutumd_actions", "Actions that ended.", labels=["engine", "operation", "result"])
    durations = HistogramMetricFamily(
        "tutumd_action_duration_seconds",
        "Time from the beginning of an action to its end.",
        labels=["engine", "operation"],
    )
    for operation in operations:
        of_operation = [total for total in ended if (total.engine, total.verb) == operation]
        for state, result in _RESULTS.items():
            actions.add_metric([*operation, result], sum(each.number for each in of_operation if each.event == state))
        ran = [total for total in of_operation if total.has_run]
        sums = accumulate(sum(total.number for total in ran if total.bound_s == bound) for bound in _BUCKETS)
        durations.add_metric(
            operation, list(zip(_BUCKET_NAMES, sums, strict=True)), sum(total.seconds for total in ran)
        )
    yield from (actions, durations)
    yield CounterMetricFamily(
        "tutumd_lease_takeovers",
        "Actions that a worker took over from another one whose lease ran out.",
        value=sum(total.number for total in totals if total.event == TAKEOVER),
    )
