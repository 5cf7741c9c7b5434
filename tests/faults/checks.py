"""Checks of the promises against the evidence of a round. Each returns its violations as text."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence

from tests.faults.callers import READ, Call
from tests.faults.evidence import Delivery, Down, Evidence
from tests.faults.journal import ASKED, BEGIN, DONE, END, REMOVE, Entry
from tests.faults.stalls import stalled_s

PROMISED_S = 15.0
TAKEOVER_S = 4 * PROMISED_S
"""Later is late however busy the machine is. Before, a takeover may take longer by what processes had to wait."""
_TELLING_S = 5.0


def check_all(evidence: Evidence) -> list[str]:
    """Prove everything."""
    return [violation for check in CHECKS for violation in check(evidence)]


def check_answers(evidence: Evidence) -> Iterator[str]:
    """A call is accepted, or refused in a way that asks for another try; through a proxy each one is answered."""
    unanswered = () if evidence.is_proxied else (None,)
    for call in evidence.calls:
        expected = 200 if call.operation == READ else 202
        if call.status in (*unanswered, expected) or (call.status == 503 and call.has_retry_after):
            continue
        yield f"{_name(call)} was answered {call.status}, Retry-After: {call.has_retry_after}: {call.detail}"


def check_deliveries(evidence: Evidence) -> Iterator[str]:
    """Each accepted call is there once, as it was sent; each refused one is not; each unanswered one at most once."""
    found: dict[str, list[Delivery]] = defaultdict(list)
    for delivery in evidence.deliveries:
        found[delivery.agent].append(delivery)
    for call in evidence.calls:
        own = found.pop(call.agent, [])
        if len(own) > 1:
            yield f"{_name(call)} was delivered {len(own)} times"
        if call.status == 202 and not own:
            yield f"{_name(call)} was accepted and is lost"
        is_uncertain = call.status is None or "look whether" in call.detail
        if own and (not call.is_sent or not (call.status == 202 or is_uncertain)):
            yield f"{_name(call)} was refused ({call.status or 'no connection'}) and is stored all the same"
        for delivery in own:
            if call.action and delivery.action != call.action:
                yield f"{_name(call)} was told action {call.action}, and has {delivery.action}"
            expected = (call.service, call.operation, call.amount)
            if (delivery.service, delivery.operation, delivery.amount) != expected:
                yield f"{_name(call)} is stored as {delivery}"
    for agent in found:
        yield f"a delivery of {agent!r} is there, whom nobody sent"


def check_actions(evidence: Evidence) -> Iterator[str]:
    """The action of each delivery ended and did what the delivery was for."""
    for uri in sorted({delivery.action for delivery in evidence.deliveries}):
        state, reason = evidence.actions.get(uri, ("unknown", ""))
        if state != "Success":
            yield f"{uri} is {state}: {reason}"


def check_order(evidence: Evidence) -> Iterator[str]:
    """A call never joins an action that began before: that run may have seen the old image."""
    begun: dict[str, float] = {}
    for entry in evidence.entries:
        if entry.kind == BEGIN:
            begun.setdefault(entry.action, entry.at)
    sent = {call.agent: call for call in evidence.calls}
    for delivery in evidence.deliveries:
        call = sent.get(delivery.agent)
        began = begun.get(_uuid(delivery.action))
        if began is None:
            yield f"{delivery.action} never reached the engine"
        elif call is not None and began < call.sent:
            yield f"{_name(call)} joined {delivery.action}, which had begun {call.sent - began:.3f} s before"


def check_overlap(evidence: Evidence) -> Iterator[str]:
    """Two runs of a service never overlap, but for one late call of a worker that was stopped past its lease."""
    stopped = {down.worker for down in evidence.downs if down.is_stopped}
    late: dict[str, list[Entry]] = defaultdict(list)
    for entry in late_calls(evidence.entries):
        late[entry.run].append(entry)
    for entries in late.values():
        first = entries[0]
        if first.worker not in stopped:
            yield f"worker {first.worker} called {_calls(entries)} while another run had {first.service}"
        elif len(entries) > 1:
            yield f"worker {first.worker}, stopped past its lease, made {len(entries)} late calls: {_calls(entries)}"


def late_calls(entries: Sequence[Entry]) -> list[Entry]:
    """Find the calls that were asked for, or carried out, when another run of the service had begun.

    A run that changes nothing counts for nothing: its worker found in time that it had lost the action.
    """
    working = {entry.run for entry in entries if entry.kind == ASKED}
    late: list[Entry] = []
    holder: dict[str, str] = {}
    past: set[str] = set()
    under_way: dict[str, Entry] = {}
    for entry in entries:
        if entry.kind == BEGIN and entry.run in working:
            past.update({holder[entry.service]} if entry.service in holder else ())
            holder[entry.service] = entry.run
        elif entry.kind == ASKED and entry.run in past:
            late.append(entry)
        elif entry.kind == ASKED:
            under_way[entry.run] = entry
        elif entry.kind == DONE and (asked := under_way.pop(entry.run, None)) and entry.run in past:
            late.append(asked)
    return late


def check_totals(evidence: Evidence) -> Iterator[str]:
    """Exactly the containers were added that the deliveries asked for."""
    for service in evidence.before.services:
        before, after = evidence.before.running(service), evidence.after.running(service)
        own = [call for call in evidence.calls if call.service == service and call.operation == "SCALEUP"]
        least = before + sum(call.amount for call in own if call.status == 202)
        most = least + sum(call.amount for call in own if call.status is None)
        exact = before + sum(
            delivery.amount
            for delivery in evidence.deliveries
            if delivery.service == service and delivery.operation == "SCALEUP"
        )
        if not least <= after <= most or after != exact:
            yield f"{service} has {after} containers; {least} to {most} were asked for, {exact} by its deliveries"


def check_targets(evidence: Evidence) -> Iterator[str]:
    """The API shows the containers that run."""
    for service in evidence.after.services:
        after = evidence.after.running(service)
        shown = evidence.shown.get(service)
        if shown != (after, after):
            yield f"{service} runs {after} containers; the API shows (target, running) {shown}"


def check_no_harm(evidence: Evidence) -> Iterator[str]:
    """A redeploy or a scale-up never leaves fewer containers running than there were when it began."""
    containers = evidence.before.copy()
    least: dict[str, int] = {}
    scales_down = {entry.action for entry in evidence.entries if entry.kind == BEGIN and entry.call == "SCALE"}
    for entry in evidence.entries:
        if entry.kind == BEGIN:
            least.setdefault(entry.action, containers.running(entry.service))
        elif entry.kind == DONE:
            containers.apply(entry)
            left = containers.running(entry.service)
            if entry.call == REMOVE and entry.action not in scales_down and left < least.get(entry.action, 0):
                yield f"action {entry.action} removed {entry.name} and left {left} running"


def check_takeover(evidence: Evidence) -> Iterator[str]:
    """The actions of a lost worker are taken over in time."""
    lost: set[str] = set()
    for down in evidence.downs:
        for run, took_s in takeovers(evidence.entries, [down]):
            if run.action in lost:
                continue  # from the second death on, it waits
            lost.add(run.action)
            waited_s = stalled_s(evidence.stalls, down.at, down.at + (took_s or 0.0))
            if took_s is None or took_s > min(PROMISED_S + waited_s, TAKEOVER_S):
                when = "never" if took_s is None else f"after {took_s:.1f} s, {waited_s:.1f} s of them busy"
                yield f"action {run.action} of {run.service} was taken over {when}, {PROMISED_S:.0f} s are promised"


def takeovers(entries: Sequence[Entry], downs: Sequence[Down]) -> list[tuple[Entry, float | None]]:
    """List the runs that workers had under way when they were lost, and after how many seconds each went on."""
    return [(run, _next_begin(entries, run, down)) for down in downs for run in _under_way(entries, down)]


def _under_way(entries: Sequence[Entry], down: Down) -> list[Entry]:
    own = [entry for entry in entries if entry.worker == down.worker]
    # The engine may hear of the end of a run a moment after the worker that told it was lost. A killed worker tells no
    # end that is none, and one that is stopped is so for longer.
    ended = {entry.run for entry in own if entry.kind == END and entry.at <= down.at + _TELLING_S}
    return [entry for entry in own if entry.kind == BEGIN and entry.at <= down.at and entry.run not in ended]


def _next_begin(entries: Sequence[Entry], run: Entry, down: Down) -> float | None:
    for entry in entries:
        if entry.kind == BEGIN and entry.at > down.at and entry.action == run.action and entry.worker != down.worker:
            return entry.at - down.at
    return None


def _uuid(uri: str) -> str:
    return uri.rstrip("/").rpartition("/")[2]


def _name(call: Call) -> str:
    return f"call {call.agent!r} ({call.service} {call.operation} {call.amount})"


def _calls(entries: Sequence[Entry]) -> str:
    return ", ".join(f"{entry.call} {entry.name}" for entry in entries)


CHECKS: tuple[Callable[[Evidence], Iterator[str]], ...] = (
    check_answers,
    check_deliveries,
    check_actions,
    check_order,
    check_overlap,
    check_totals,
    check_targets,
    check_no_harm,
    check_takeover,
)
