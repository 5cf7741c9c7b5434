"""A Run for tests of engines: keeps the journal, remembers what was logged, and can kill the verb at any step."""

import time
from collections.abc import Mapping


class Killed(BaseException):
    """The server was killed here. Not an Exception: no code of ours may catch it."""


class FakeRun:
    """One action without a worker. Every `save` and every `check` is a step.

    kill_at: The step, from 1, at which `Killed` is raised: `save` has stored the journal by then.
    journal: What an earlier run of the same action saved.
    """

    def __init__(
        self,
        *,
        action_uuid: str = "0a1b2c3d-0000-4000-8000-000000000001",
        journal: Mapping[str, object] | None = None,
        kill_at: int | None = None,
        deadline_s: float = 60.0,
        tag: str | None = None,
        variables: Mapping[str, str | None] | None = None,
    ) -> None:
        self.steps = 0
        self.lines: list[str] = []
        self._action_uuid = action_uuid
        self._journal: Mapping[str, object] = dict(journal or {})
        self._kill_at = kill_at
        self._began = time.monotonic()
        self._ends = self._began + deadline_s
        self.tag = tag
        self.variables = dict(variables or {})

    @property
    def action_uuid(self) -> str:
        return self._action_uuid

    @property
    def journal(self) -> Mapping[str, object]:
        return self._journal

    def save(self, journal: Mapping[str, object]) -> None:
        self._journal = dict(journal)
        self.check()

    def check(self) -> None:
        self.steps += 1
        if self.steps == self._kill_at:
            raise Killed(f"at step {self.steps}")

    def sleep(self, seconds: float) -> None:
        self.check()
        time.sleep(seconds)
        self.check()

    def set_time_limit(self, seconds: float) -> None:
        self._ends = self._began + seconds

    def remaining_s(self) -> float:
        return max(0.0, self._ends - time.monotonic())

    def log(self, line: str) -> None:
        self.lines.append(line)

    def again(self, *, kill_at: int | None = None) -> "FakeRun":
        """The same action, claimed once more after this run was cut off."""
        return FakeRun(
            action_uuid=self._action_uuid,
            journal=self._journal,
            kill_at=kill_at,
            tag=self.tag,
            variables=self.variables,
        )
