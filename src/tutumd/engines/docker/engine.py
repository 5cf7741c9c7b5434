"""The engine `docker` as the worker sees it."""

import time
from collections.abc import Callable, Mapping, Sequence
from threading import Event

from tutumd.engines.docker.host import Host
from tutumd.engines.docker.images import preflight
from tutumd.engines.docker.plans import RedeployPlan, plan_redeploy, steps, waits_for
from tutumd.engines.docker.power import Power
from tutumd.engines.docker.redeploy import Redeployer
from tutumd.engines.docker.rules import NeighbourBusyError
from tutumd.engines.docker.scale import Scaler
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import Group, group
from tutumd.engines.docker.sight import Sight
from tutumd.engines.docker.snapshots import image_digest, service_snapshot
from tutumd.engines.docker.trial import Trial
from tutumd.engines.docker.watch import watch_events
from tutumd.engines.dockerapi import connect
from tutumd.engines.labels import parse_labels
from tutumd.errors import EngineRefusedError
from tutumd.model import EngineInfo, Outcome, Plan, Service, ServiceSnapshot
from tutumd.ports import Run


class DockerEngine:
    """Services of the containers of one Docker Engine.

    Args:
        name: Of this instance.
        url: Where the engine listens; None means as `connect` says.
        config_dir: The Docker client's configuration folder, with the registry logins.
        server_cap: The most containers that a service may be scaled to.
        stable_s: How long a new container without a health check must run.
        overlap_s: For how long old and new containers both are found where that is possible: proxies remember for
            seconds which address a name has.
        drain_s: For how long the old ones may then finish what they work on, before they are told to stop.
        own_container_id: The container that this process runs in, which is left alone.
        environment: Where DOCKER_HOST and the TLS variables are looked up.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        url: str | None,
        *,
        config_dir: str | None,
        server_cap: int,
        stable_s: float = 3.0,
        overlap_s: float = 10.0,
        drain_s: float = 5.0,
        own_container_id: str | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._info = EngineInfo(name=name, kind="docker", creates=False)
        self._client = connect(url, config_dir, environment=environment)
        self._host = Host(self._client, config_dir)
        self._server_cap = server_cap
        self._trial = Trial(host=self._host, stable_s=stable_s, overlap_s=overlap_s, drain_s=drain_s, clock=clock)
        self._own_id = own_container_id
        self._sight = Sight(self._host)
        self._shown: dict[str, tuple[Group, ServiceSnapshot]] = {}

    @property
    def info(self) -> EngineInfo:
        """As the port says."""
        return self._info

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """As the port says; while `watch` follows the events, only what changed is looked at again."""
        shown: dict[str, tuple[Group, ServiceSnapshot]] = {}
        for one in group(self._sight.containers(), self._own_id):
            known = self._shown.get(one.selector)
            shown[one.selector] = known if known is not None and known[0] == one else (one, service_snapshot(one))
        self._shown = shown
        return tuple(snapshot for _, snapshot in shown.values())

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        """As the port says."""
        found = self._find(service.selector, self._host.containers())
        return None if found is None else service_snapshot(found)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """As the port says; `changed` is called once at the start, too."""
        watch_events(self._client, self._sight, changed, stop)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """As the port says: the old containers are parked until all new ones are good."""
        return Redeployer(
            host=self._host,
            trial=self._trial,
            find=lambda: self._found(service),
            run=run,
            own_id=self._own_id,
        ).redeploy()

    def plan(self, service: Service, tag: str | None) -> Plan:
        """As the port says; the digest is asked from the registry."""
        try:
            found, everybody = self._found(service)
            fetches_again = self._host.facts().by_manifest
            decided = plan_redeploy(found, everybody, tag, self._own_id, fetches_again=fetches_again)
            digests = preflight(self._host, decided.pulled, found.holders)
        except EngineRefusedError as error:
            return Plan(refused=str(error))
        return _told(decided, found, digests)

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """As the port says, from 1: a service here is its containers, and with the last one it would be gone."""
        found = self._at_rest(service, run)
        own = parse_labels([one.labels for one in found.holders]).service_cap
        most = min(self._server_cap, own or self._server_cap)
        if not 1 <= target <= most:
            hint = "; to end all of its containers, stop it" if target == 0 else ""
            raise EngineRefusedError(f"{service.name} can have 1 to {most} containers, got {target}{hint}")
        return Scaler(host=self._host, trial=self._trial, find=lambda: self._found(service), run=run).scale(target)

    def start(self, service: Service, run: Run) -> Outcome:
        """As the port says."""
        found = self._at_rest(service, run)
        return Power(host=self._host, trial=self._trial, run=run).start(found.holders)

    def stop(self, service: Service, run: Run) -> Outcome:
        """As the port says."""
        found = self._at_rest(service, run)
        return Power(host=self._host, trial=self._trial, run=run).stop(found.holders)

    def terminate(self, service: Service, run: Run) -> Outcome:
        """Refuse: nothing here was created through tutumd."""
        raise EngineRefusedError(
            f"{service.name} was not created through tutumd: remove its containers with what created them"
        )

    def logs(self, service: Service, lines: int) -> str:
        """As the port says; with several containers each line begins with the name of its own."""
        found = self._find(service.selector, self._host.containers())
        if found is None:
            return ""
        outputs = [(place.name, self._host.output(place.holder.id, lines)) for place in found.places]
        if len(outputs) == 1:
            return outputs[0][1]
        return "\n".join(f"{name} | {line}" for name, output in outputs for line in output.splitlines())

    def close(self) -> None:
        """As the port says."""
        self._client.close()

    def _find(self, selector: str, containers: Sequence[Seen]) -> Group | None:
        return next((one for one in group(containers, self._own_id) if one.selector == selector), None)

    def _at_rest(self, service: Service, run: Run) -> Group:
        """Look up the service for a run that must not change what the redeploy of another service works on.

        Raises:
            NeighbourBusyError: That is under way.
        """
        found, everybody = self._found(service)
        if not run.journal and (reason := waits_for(found, everybody)):
            raise NeighbourBusyError(reason)
        return found

    def _found(self, service: Service) -> tuple[Group, Sequence[Seen]]:
        everybody = self._host.containers()
        found = self._find(service.selector, everybody)
        if found is not None:
            return found, everybody
        if any(one.selector == service.selector for one in group(everybody, None)):
            raise EngineRefusedError(f"tutumd itself runs in {service.name}: replace it with what created it")
        raise EngineRefusedError(f"{service.name} is gone: no container of it is left on this engine")


def _told(decided: RedeployPlan, found: Group, digests: Mapping[str, str | None]) -> Plan:
    first, member = found.holders[0], decided.members[0]
    before = image_digest(first.image_name, first.image_id, first.image)
    after = digests[member.image]
    notes = [*decided.wanted.problems, *decided.notes]
    if any(place.swapping for place in found.places):
        notes.insert(0, "an earlier redeploy was cut off: what it left is cleaned up first")
    if decided.wanted.skip_unchanged and after == before and member.image == first.image_name:
        notes.insert(0, "there is no newer image: unless a container fails, nothing will be done")
    return Plan(
        order=decided.order.value,
        order_reason=decided.order_reason,
        image_name=member.image,
        image_before=before,
        image_after=after,
        steps=steps(decided),
        notes=tuple(notes),
    )
