"""One action on one Swarm service: what each of its steps needs."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from tutumd.engines.rollout.conflicts import StaleError, retry_on_conflict
from tutumd.engines.rollout.timing import Timing, poll_until
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi
from tutumd.engines.swarm.view import ServiceView
from tutumd.model import Phase, RunLimits
from tutumd.ports.engine import Run

# Takes a service and returns its new specification; None if there is nothing to change.
MakeSpec = Callable[[ServiceView], dict[str, Any] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceContext:
    """One run on the service `name`.

    Attributes:
        limits: Time limits of a run, as the server's settings say.
    """

    api: SwarmApi
    name: str
    run: Run
    timing: Timing
    limits: RunLimits = field(default_factory=RunLimits)

    def view(self) -> ServiceView | None:
        """Return the service as it is now; None if it is gone. Raises EngineRefusedError if it is to be ignored."""
        return self.api.shown_view(self.name)

    def wait_until_idle(self) -> ServiceView:
        """Return the service once no update runs, or after `idle_s`. Raises EngineRefusedError if it is gone.

        An update sent in between ends the engine's monitoring of the one before, and its way back.
        """
        view = self.api.require_view(self.name)
        if not view.updating:
            return view
        self.run.log("waiting for an update that is already under way", Phase.WAITING)
        return poll_until(
            self.run,
            self.timing,
            lambda: self.api.require_view(self.name),
            lambda now: not now.updating,
            self.timing.idle_s,
        )

    def change(self, make_spec: MakeSpec) -> None:
        """Send what `make_spec` returns, again after each conflict. Raises what `retry_on_conflict` raises."""
        retry_on_conflict(self.run, self.timing, lambda: self._change_once(make_spec))

    def nudge_updater(self, version: specs.Version, config: dict[str, Any]) -> None:
        """Restart the engine's updater: it keeps one new task in each place, and stops waiting for lost ones.

        Args:
            config: The UpdateConfig that the update to `version` was sent with.
        """

        def make_spec(view: ServiceView) -> dict[str, Any] | None:
            if view.version != version:
                return None
            nudged = specs.nudged_config(config)
            sent = config if specs.has_config(view.spec, nudged) else nudged
            return specs.with_config_of(view.spec, {specs.UPDATE_CONFIG: sent})

        self.run.log("a node went down or was drained under a container: making the engine continue")
        self.change(make_spec)

    def _change_once(self, make_spec: MakeSpec) -> None:
        view = self.view()
        spec = make_spec(view) if view is not None else None
        if view is None or spec is None:
            return
        auth = self.api.stored_or_fresh_auth(spec["TaskTemplate"]["ContainerSpec"]["Image"])
        self.run.check()
        try:
            self.api.update(view, spec, auth)
            self.run.advance("sent", 1)
        except StaleError:
            self.run.log("the service was changed by somebody else at the same moment: trying again")
            raise
