"""A Run for tests of engines: keeps the journals, remembers what was logged, and can end the verb at any step."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

from tutumd.model import ImageFacts, Phase, RunLimits, WantedImage
from tutumd.worker.leased_run import Deadlines
from tutumd.worker.trust import JournalSeal

# Of all workers that tests run in their own process.
SEAL = JournalSeal(b"the key of the workers of tests")


class Killed(BaseException):
    """The server was killed here. Not an Exception: no code of ours may catch it."""


def once_at(words: str, act: Callable[[], object]) -> Callable[[str], None]:
    """Return an `on_log` that acts at the first line that begins with `words`."""
    acts = [act]

    def on_log(line: str) -> None:
        if line.startswith(words) and acts:
            acts.pop()()

    return on_log


class FakeRun:
    """One action without a worker. Every `save` and every `check` is a step; a wait is none.

    Args:
        journal: What an earlier run of the same action saved.
        pulled: Images that runs have pulled.
        kill_at: The step, from 1, that raises `error`. If it is a `save`, the journal is stored by then.
        kill_in_sleep: Raise `error` in the first wait.
        error: What ends the verb: `Killed`, or LeaseLostError where another worker took the action over.
        on_log: Called with each line that is logged.
        on_sleep: Called at the begin of each wait.
        on_progress: Called when the run has got further than ever before.
    """

    def __init__(
        self,
        *,
        action_uuid: str = "0a1b2c3d-0000-4000-8000-000000000001",
        journal: Mapping[str, object] | None = None,
        kill_at: int | None = None,
        kill_in_sleep: bool = False,
        error: type[BaseException] = Killed,
        deadline_s: float = 300.0,
        stall_s: float = 300.0,
        tag: str | None = None,
        variables: Mapping[str, str | None] | None = None,
        skip_unchanged: bool | None = None,
        image: WantedImage | None = None,
        pulled: Collection[str] = (),
        history: Sequence[ImageFacts] = (),
        on_log: Callable[[str], object] = lambda line: None,
        on_sleep: Callable[[], object] = lambda: None,
        on_progress: Callable[["FakeRun"], object] = lambda run: None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.steps = 0
        self.lines: list[str] = []
        self.phases: list[Phase] = []
        self.journals: list[Mapping[str, object]] = [dict(journal or {})]
        self.pulled = set(pulled)
        self._action_uuid = action_uuid
        self._kill_at = kill_at
        self._kill_in_sleep = kill_in_sleep
        self._error = error
        self._server_limits = RunLimits(timeout_s=deadline_s, stall_s=stall_s)
        self._ended = False
        self._skipped_s = 0.0
        self._deadlines = Deadlines(self._server_limits, lambda: monotonic() + self._skipped_s)
        self._reached: dict[str, int] = {}
        self.tag = tag
        self.variables = dict(variables or {})
        self.skip_unchanged = skip_unchanged
        self.image = image
        self.history = history
        self._on_log = on_log
        self._on_sleep = on_sleep
        self._on_progress = on_progress

    @property
    def action_uuid(self) -> str:
        return self._action_uuid

    @property
    def journal(self) -> Mapping[str, object]:
        return self.journals[-1]

    def save(self, journal: Mapping[str, object]) -> None:
        self.journals.append(dict(journal))
        self.check()

    def check(self) -> None:
        self.steps += 1
        if self.steps == self._kill_at:
            raise self._error(f"at step {self.steps}")

    def pulled_images(self) -> frozenset[str]:
        return frozenset(self.pulled)

    def image_history(self) -> Sequence[ImageFacts]:
        return self.history

    def update_pulled(self, *, added: Collection[str] = (), removed: Collection[str] = ()) -> None:
        self.pulled |= set(added)
        self.pulled -= set(removed)

    def sleep(self, seconds: float) -> None:
        self._on_sleep()
        if self._kill_in_sleep:
            raise self._error("in a wait")
        time.sleep(seconds)

    def set_limits(
        self, *, timeout_s: float | None, stall_s: float | None, least_stall_s: float = 0.0, is_pulling: bool = False
    ) -> None:
        limits = self._server_limits.adapted(
            timeout_s=timeout_s, stall_s=stall_s, least_stall_s=least_stall_s, is_pulling=is_pulling
        )
        self._deadlines.limits = limits
        if str(limits) not in self.lines:
            self.log(str(limits))

    def advance(self, kind: str, count: int) -> None:
        self._deadlines.advance(kind, count)
        if count > self._reached.get(kind, 0):
            self._reached[kind] = count
            self._on_progress(self)

    def pulling(self) -> AbstractContextManager[None]:
        return self._deadlines.pulling()

    @property
    def limits(self) -> RunLimits:
        """The limits in force."""
        return self._deadlines.limits

    def skip(self, seconds: float) -> None:
        """Let so much time pass at once."""
        self._skipped_s += seconds

    def end_now(self) -> None:
        """Let the time be over, as a cancel request does."""
        self._ended = True

    def remaining_s(self) -> float:
        return 0.0 if self._ended else self._deadlines.remaining_s()

    def overdue_reason(self) -> str:
        return "" if self._ended else self._deadlines.reason()

    def log(self, line: str, phase: Phase | None = None) -> None:
        self.lines.append(line)
        if phase is not None and phase not in self.phases[-1:]:
            self.phases.append(phase)
        self._on_log(line)

    def again(self) -> "FakeRun":
        """Return the same action, claimed once more after this run was cut off."""
        return FakeRun(
            action_uuid=self._action_uuid,
            journal=self.journal,
            deadline_s=self._server_limits.timeout_s,
            stall_s=self._server_limits.stall_s,
            tag=self.tag,
            variables=self.variables,
            skip_unchanged=self.skip_unchanged,
            image=self.image,
            pulled=self.pulled,
        )


def late_when(is_due: Callable[[], object], **options: Any) -> FakeRun:
    """Return a run for which the time is over at the first wait that finds `is_due` true."""
    run: FakeRun = FakeRun(on_sleep=lambda: run.skip(1e6) if is_due() else None, **options)
    return run
