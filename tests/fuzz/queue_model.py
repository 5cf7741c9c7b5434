"""A small model of the queue: lists in memory, without a database, for the promises of docs/explanation/promises.md."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from tutumd.model import ActionState, Verb

LEASE = timedelta(seconds=10)
PAUSES_S = (0, 10, 30, 90)
TRIES = 3
REPEAT_WINDOW = timedelta(hours=24)
MAX_DEBOUNCES = 10
_ENDED = (ActionState.SUCCESS, ActionState.FAILED, ActionState.CANCELED)
_WITHOUT_RESULT = (ActionState.FAILED, ActionState.CANCELED)


@dataclass(frozen=True, kw_only=True)
class Hook:
    """A handler and what its options ask for."""

    name: str
    service: str
    verb: Verb
    debounce: timedelta = timedelta(0)
    cap: int | None = None
    has_tag: bool = False


@dataclass(eq=False, kw_only=True)
class ModelAction:
    """An action. `amounts` are those of its calls, each with the cap of its handler."""

    service: str
    verb: Verb
    created: datetime
    due: datetime
    target: int | None = None
    uuid: str = ""
    state: ActionState = ActionState.PENDING
    is_open: bool = True
    amounts: list[tuple[int, int | None]] = field(default_factory=list)
    tag: str | None = None
    deliveries: int = 0
    token: int = 0
    worker: str | None = None
    deaths: int = 0
    leased_until: datetime | None = None
    is_canceling: bool = False
    overrides: bool = False

    @property
    def shown_state(self) -> ActionState:
        return ActionState.CANCELING if self.is_canceling and self.state not in _ENDED else self.state

    def merged_amounts(self) -> list[tuple[int, int | None]]:
        """Return the amounts, those that follow each other with the same cap as one."""
        merged: list[tuple[int, int | None]] = []
        for amount, cap in self.amounts:
            before = merged.pop()[0] if merged and merged[-1][1] == cap else 0
            merged.append((before + amount, cap))
        return merged

    def end(self, state: ActionState) -> None:
        self.state, self.is_open, self.leased_until, self.worker = state, False, None, None

    def let_go(self, now: datetime, *, pause: timedelta | None) -> None:
        """End the claim of a worker: for now if there is a pause, after which the action counts no deaths."""
        self.worker, self.leased_until = None, None
        if pause is not None:
            self.due, self.deaths = now + pause, 0


class Model:
    """All actions, in the order of their creation."""

    def __init__(self) -> None:
        self.actions: list[ModelAction] = []
        self.held_until: dict[str, datetime] = {}
        self._keys: dict[tuple[str, str], tuple[ModelAction, datetime]] = {}

    def call(self, hook: Hook, amount: int, key: str | None, tag: str | None, now: datetime) -> ModelAction:
        """Accept a call, and return the action that carries it out."""
        if key is not None and (known := self._keys.get((hook.name, key))):
            action, received = known
            if action.state not in _WITHOUT_RESULT and received > now - REPEAT_WINDOW:
                return action
        joined = next((a for a in self.of(hook.service) if a.is_open and a.verb is hook.verb), None)
        if joined is None:
            joined = self._open(hook.service, hook.verb, now, due=now + hook.debounce)
        elif joined.due > now:
            latest = joined.created + MAX_DEBOUNCES * hook.debounce
            joined.due = max(min(now + hook.debounce, latest), now) if hook.debounce else now
        if hook.verb is Verb.SCALEUP:
            joined.amounts.append((amount, hook.cap))
        joined.tag = tag or joined.tag
        joined.deliveries += 1
        if key is not None:
            self._keys[(hook.name, key)] = (joined, now)
        return joined

    def submit(
        self, service: str, verb: Verb, target: int | None, now: datetime, *, override: bool = False
    ) -> ModelAction:
        """Accept what a person asked for."""
        pending = [action for action in self.of(service) if action.state is ActionState.PENDING]
        if verb is Verb.REDEPLOY:
            joined = next((action for action in pending if action.is_open and action.verb is verb), None)
        else:
            newest = pending[-1:]
            joined = next((action for action in newest if (action.verb, action.target) == (verb, target)), None)
        if joined is not None:
            joined.due = min(joined.due, now)
            joined.overrides |= override
            return joined
        if verb is not Verb.REDEPLOY:
            self._close(service)
        new = self._open(service, verb, now, due=now, target=target)
        new.overrides = override
        return new

    def retry(self, old: ModelAction, now: datetime) -> ModelAction:
        """Repeat an action that failed or was canceled."""
        self._close(old.service)
        new = self._open(old.service, old.verb, now, due=now, target=None if old.verb is Verb.SCALEUP else old.target)
        new.is_open, new.amounts, new.tag = False, list(old.amounts), old.tag
        return new

    def cancel(self, action: ModelAction, now: datetime) -> None:
        """Cancel an action that has not ended: at once if it has not begun."""
        if action.state is ActionState.PENDING:
            action.end(ActionState.CANCELED)
        else:
            action.is_canceling, action.due = True, now
            if action.worker is None:  # it waits for nothing more
                action.leased_until = None

    def next(self, now: datetime) -> ModelAction | None:
        """Return the action that a worker must get: the oldest that is due, of a service that is idle."""
        busy = {action.service for action in self.actions if action.state is ActionState.IN_PROGRESS}
        for action in self.actions:
            if action.due > now or action.state in _ENDED or self._is_held(action, now):
                continue
            is_unheld = action.leased_until is None or action.leased_until <= now
            if is_unheld if action.state is ActionState.IN_PROGRESS else action.service not in busy:
                return action
        return None

    def claim(self, worker: str, now: datetime) -> ModelAction | None:
        """Give the next action to a worker, and return it."""
        for _ in range(TRIES):
            action = self.next(now)
            if action is None:
                return None
            if action.worker in (None, worker):
                action.state, action.is_open, action.leased_until = ActionState.IN_PROGRESS, False, now + LEASE
                action.token, action.worker = action.token + 1, worker
                return action
            self._bury(action.worker, now)
        return None

    def _bury(self, worker: str | None, now: datetime) -> None:
        """End the claims whose leases a worker let expire. An action that was there at two deaths or more waits."""
        waiting = 0
        for action in self.actions:
            is_held = action.worker == worker and action.state is ActionState.IN_PROGRESS
            if is_held and (action.leased_until is None or action.leased_until <= now):
                pause = PAUSES_S[action.deaths] if action.deaths < len(PAUSES_S) else 0
                action.leased_until = now + timedelta(seconds=pause + waiting) if pause else None
                waiting += bool(pause)
                action.token, action.worker, action.deaths = action.token + 1, None, action.deaths + 1

    def of(self, service: str) -> Sequence[ModelAction]:
        """Return the actions of a service."""
        return [action for action in self.actions if action.service == service]

    def _is_held(self, action: ModelAction, now: datetime) -> bool:
        may_be_held = (action.verb, action.state) == (Verb.REDEPLOY, ActionState.PENDING) and not action.overrides
        return may_be_held and self.held_until.get(action.service, now) > now

    def _close(self, service: str) -> None:
        for action in self.of(service):
            action.is_open = False

    def _open(
        self, service: str, verb: Verb, now: datetime, *, due: datetime, target: int | None = None
    ) -> ModelAction:
        self.actions.append(ModelAction(service=service, verb=verb, created=now, due=due, target=target))
        return self.actions[-1]
