"""One task of the new image, tried out beside the service before an update takes the first old task.

The engine counts a task of an image without a health check as running at once, and stops an old one for it. Until it
has seen the new one fail, a part of the service is down: all of it where there is one task. The trial gets no traffic:
it has neither the service's network aliases nor its ports and labels.
"""

import contextlib
import copy
from typing import Any

from tutumd.engines.labels import IGNORE, Json, Order
from tutumd.engines.swarm import spec as specs
from tutumd.engines.swarm.api import SwarmApi, TakenError
from tutumd.engines.swarm.changes import Steady, Tempo
from tutumd.engines.swarm.order import shared_mount
from tutumd.engines.swarm.plan import NO_ROOM
from tutumd.engines.swarm.verdict import View, culprit
from tutumd.engines.swarm.words import trouble_of
from tutumd.ports import Run

LOG_LINES = 20
_LONGEST_NAME = 63
"""docker/swarmkit: manager/controlapi/service.go `validateServiceSpec`."""


def is_needed(spec: Json, config: Json, *, checked: bool) -> bool:
    """Tell whether an update could take an old task for a new one that does not last.

    Args:
        config: The UpdateConfig of the update.
        checked: The image is known to have a health check: the engine then waits until a new task is healthy.
    """
    runs = specs.mode_of(spec) is specs.Mode.REPLICATED and specs.replicas_of(spec) > 0
    overlaps = config["Order"] == Order.START_FIRST and not shared_mount(spec)
    return runs and overlaps and not checked and not specs.has_health_check(spec) and bool(config["Monitor"])


def trial_name(name: str, action_uuid: str) -> str:
    """Name the trial of an action."""
    end = f"-trial-{action_uuid[:8]}"
    return name[: _LONGEST_NAME - len(end)] + end


def trial_spec(spec: Json, name: str) -> dict[str, Any]:
    """Make the specification of a trial from the one that the update would order."""
    template: dict[str, Any] = copy.deepcopy(dict(spec["TaskTemplate"]))
    template["RestartPolicy"] = {"Condition": "none"}
    template["ContainerSpec"].pop("Labels", None)
    new: dict[str, Any] = {"Name": name, "Labels": {IGNORE: "true"}, "TaskTemplate": template}
    for network in template.get("Networks") or ():
        network.pop("Aliases", None)
    return {**new, "Mode": {"Replicated": {"Replicas": 1}}, "EndpointSpec": {"Mode": "dnsrr"}}


class Trial:
    """One trial, which is there from `begin` to `end`. A second `begin` goes on with the first."""

    def __init__(self, api: SwarmApi, name: str, run: Run, tempo: Tempo) -> None:
        self._api = api
        self._name = trial_name(name, run.action_uuid)
        self._run = run
        self._tempo = tempo

    def begin(self, spec: Json) -> None:
        """Start it. Raises EngineRefusedError where the engine does not take it; there is none then."""
        if self._api.view(self._name) is None:
            self._run.check()
            auth = self._api.stored_or_fresh_auth(spec["TaskTemplate"]["ContainerSpec"]["Image"])
            # Taken: one that was ordered before we were cut off, and that has come into being only after our look.
            with contextlib.suppress(TakenError):
                self._api.create(trial_spec(spec, self._name), auth)

    def watch(self, stable_s: float) -> tuple[str, str]:
        """Wait until it ran for so long; return why it did not, and its last lines, both empty where it did.

        The first is `plan.NO_ROOM` where nothing could be tried.
        """
        steady, crowded = Steady(clock=self._tempo.clock), Steady(clock=self._tempo.clock)
        while True:
            view = self._api.view(self._name)
            if view is None:
                return "the task that was to try the new image out was removed by somebody else", ""
            held_s = steady.seconds(tuple(task.id for task in view.running))
            if view.running and held_s >= stable_s:
                return "", ""
            no_room = any(task.has_no_room for task in view.tasks)
            if crowded.seconds(no_room) >= self._tempo.room_s and no_room:
                return NO_ROOM, ""
            if any(task.broken for task in view.tasks):
                return self._trouble(view, "")
            if self._run.remaining_s() <= 0:
                return self._trouble(view, " before the deadline")
            self._run.sleep(self._tempo.poll_s)

    def end(self) -> None:
        """Take it away, where it is there."""
        self._run.check()
        self._api.remove(self._name)

    def _trouble(self, view: View, late: str) -> tuple[str, str]:
        blamed = culprit(view.tasks, specs.version(view.spec))
        what = f"a task of the new image, tried out beside the service, did not last{late}"
        if blamed is None:
            return what, ""
        return f"{what}: {trouble_of(blamed)}", self._api.task_log(
            blamed.id, tty=specs.is_tty(view.spec), lines=LOG_LINES
        )
