"""One round after the other: calls, a fault, quiet, proof."""

import random
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from tests.faults.bed import CONTAINERS, Bed
from tests.faults.callers import READ, Call, Callers
from tests.faults.checks import check_all, late_calls, takeovers
from tests.faults.evidence import Down, Evidence
from tests.faults.faults import Fault
from tests.faults.journal import BEGIN, Containers
from tests.faults.observe import Observer
from tests.faults.stalls import Mark, marked

QUIET_S = 300.0
"""How long everything may take to end once there are no more calls and no more faults."""

SHOWN_S = 120.0
"""Time that the API may take to show the running containers."""

_WARM_UP_S = 1.0
_LOOK_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Result of a round."""

    title: str
    facts: str
    violations: Sequence[str]

    def text(self) -> str:
        head = f"{self.title} {self.facts}: {'VIOLATED' if self.violations else 'ok'}"
        return "\n".join([head, *(f"    {violation}" for violation in self.violations)])


class Rounds:
    """The rounds on one bed."""

    def __init__(self, bed: Bed, seed: int) -> None:
        self._bed = bed
        self._seed = seed
        self._observer = Observer(bed)

    def play(self, number: int, fault: Fault) -> Report:
        """Play one round and prove the promises. `number` is in the calls' names, so each is played once."""
        chance = random.Random(f"{self._seed} {self._bed.kind} {number}")
        self._arrange(fault, chance)
        before = self._bed.journal.containers.copy()
        started = time.monotonic()
        with marked() as stalls:
            calls, downs = self._disturb(number, fault, chance)
            ended = [text for program in self._bed.programs if (text := program.ended_by_itself())]
            disturbed_s = time.monotonic() - started
            unquiet = self._wait_quiet()
            quiet_s = time.monotonic() - started - disturbed_s
        self._wait_shown()
        evidence = self._collect(calls, downs, before, stalls)
        how = "together" if self._bed.is_together else "proxied" if self._bed.proxy else "apart"
        return Report(
            title=f"{self._bed.kind:<10} round {number:>3} {fault.name:<18} {how:<8}",
            facts=f"{describe(evidence)}, {disturbed_s:.0f} s of calls, quiet after {quiet_s:.1f} s",
            violations=[*ended, *unquiet, *check_all(evidence)],
        )

    def _arrange(self, fault: Fault, chance: random.Random) -> None:
        either = self._bed.kind == "sqlite" and chance.random() < 0.5
        self._bed.arrange(together=either if fault.together is None else fault.together)
        self._bed.is_proxied = chance.random() < 0.5
        self._observer.scale_back(CONTAINERS)
        self._bed.journal.forget()

    def _disturb(self, number: int, fault: Fault, chance: random.Random) -> tuple[list[Call], list[Down]]:
        hooks = [hook for of_service in self._observer.hooks.values() for hook in of_service.values()]
        ports = [self._bed.proxy.port] if self._bed.proxy is not None else [web.port for web in self._bed.webs]
        callers = Callers(f"{self._bed.kind} {number}", hooks, ports, chance.randrange(2**32))
        callers.start()
        try:
            time.sleep(_WARM_UP_S)
            downs = fault.act(self._bed, chance)
            time.sleep(_WARM_UP_S)
        finally:
            calls = callers.stop()
        return calls, downs

    def _wait_quiet(self) -> list[str]:
        end = time.monotonic() + QUIET_S
        while (live := self._observer.count_live()) and time.monotonic() < end:
            time.sleep(_LOOK_S)
        return [f"{live} actions had not ended {QUIET_S:.0f} s after the last call"] if live else []

    def _wait_shown(self) -> None:
        end = time.monotonic() + SHOWN_S
        while time.monotonic() < end:
            self._bed.journal.read()
            running = {name: self._bed.journal.containers.running(name) for name in self._observer.shown()}
            if self._observer.shown() == {name: (count, count) for name, count in running.items()}:
                return
            time.sleep(_LOOK_S)

    def _collect(
        self, calls: Sequence[Call], downs: Sequence[Down], before: Containers, stalls: Sequence[Mark]
    ) -> Evidence:
        deliveries = self._observer.new_deliveries()
        return Evidence(
            calls=calls,
            deliveries=deliveries,
            actions=self._observer.actions({delivery.action for delivery in deliveries}),
            entries=self._bed.journal.read(),
            before=before,
            after=self._bed.journal.containers.copy(),
            shown=self._observer.shown(),
            downs=downs,
            stalls=stalls,
            is_proxied=self._bed.proxy is not None,
        )


def describe(evidence: Evidence) -> str:
    """Sum up a round in a few words."""
    calls = [call for call in evidence.calls if call.operation != READ]
    answers = Counter(str(call.status or ("unanswered" if call.is_sent else "unsent")) for call in calls)
    counts = ", ".join(f"{count} {answer}" for answer, count in sorted(answers.items()))
    runs = sum(entry.kind == BEGIN for entry in evidence.entries)
    took = [took_s for _, took_s in takeovers(evidence.entries, evidence.downs) if took_s is not None]
    takeover = f", taken over in {max(took):.1f} s" if took else ""
    late = len(late_calls(evidence.entries))
    return f"{len(calls)} calls ({counts}), {len(evidence.actions)} actions in {runs} runs, {late} late{takeover}"
