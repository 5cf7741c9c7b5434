"""Metrics as text for Prometheus, in its own format or in that of OpenMetrics, as the client asks."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate

from prometheus_client import Metric
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from tutumd.metrics.calls import CallMetrics
from tutumd.model import DURATION_BOUNDS_S, ActionState, ActionTotal, Figures, Verb

TAKEOVER = "takeover"
_RESULTS = {
    ActionState.SUCCESS.value: "success",
    ActionState.FAILED.value: "failed",
    ActionState.CANCELED.value: "canceled",
}
_OF_HANDLERS = (Verb.REDEPLOY, Verb.SCALEUP)
_BUCKETS = (*DURATION_BOUNDS_S, None)
_BUCKET_NAMES = (*(f"{bound:.1f}" for bound in DURATION_BOUNDS_S), "+Inf")


class _Families(Collector):
    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def render(calls: CallMetrics, figures: Figures | None, version: str, accept: str) -> tuple[bytes, str]:
    """Return all metrics as text, and its content type.

    Args:
        figures: None if the database could not be read: then what it knows is missing, and `tutumd_database_up` is 0.
        accept: Header of the request that says which formats the client reads.
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
    yield from _describe_totals([engine.name for engine in figures.engines], figures.totals)


def _describe_totals(engines: Sequence[str], totals: Sequence[ActionTotal]) -> Iterator[Metric]:
    """Return what was counted. What handlers do has a series from the start: rates need a 0 before the 1."""
    operations = dict.fromkeys((engine, verb.value) for engine in engines for verb in _OF_HANDLERS)
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
