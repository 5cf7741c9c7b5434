"""The engine `docker` as the worker uses it."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from threading import Event
from urllib.parse import urlsplit

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.apply.redeploy import (
    ComponentLocks,
    redeploy,
    replaced_names,
    start_containers,
    stop_containers,
)
from tutumd.engines.docker.apply.scale import Scaler
from tutumd.engines.docker.look.cache import ContainerCache, watch_events
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.look.facts import kept_platform, platform_note
from tutumd.engines.docker.look.other_installations import describe_other_installations, require_free, undisturbed
from tutumd.engines.docker.look.readiness import ActionContext, limits_of
from tutumd.engines.docker.look.services import ContainerGroup, FindGroup, find_own_parts, group_by_service
from tutumd.engines.docker.look.snapshot import base_image, service_snapshot
from tutumd.engines.docker.plan.constraints import check_no_busy_dependency, check_readable
from tutumd.engines.docker.plan.images import check_images, find_availability, find_wanted
from tutumd.engines.docker.plan.redeploy import RedeployPlan, describe_steps, plan_redeploy
from tutumd.engines.dockerapi.checkup import Needed, check_engine
from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.dockerapi.registry import find_available
from tutumd.engines.labels import IGNORE, parse_labels
from tutumd.engines.output import Source, merge_output, since_of
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.model import (
    Availability,
    EngineInfo,
    Finding,
    Level,
    Outcome,
    Output,
    Plan,
    RunLimits,
    Service,
    ServiceSnapshot,
    WantedImage,
    warning,
)
from tutumd.ports import Run


class DockerEngine:
    """Services made of the containers of one Docker Engine. Docstrings describe differences from the port.

    Args:
        name: Name of this instance.
        url: The engine's address; None means the default of `connect`.
        config_dir: The Docker client's configuration folder, with the registry logins.
        server_cap: Maximum number of containers to which a service may be scaled.
        limits: Time limits of a run, from the server's settings.
        stable_s: Seconds that a new container without a health check must run.
        drain_s: Seconds that clients find both old and new containers, if that is possible, unless the settings differ.
            Proxies cache the address of a name for several seconds: nginx with `valid=5s` for almost 6 s.
        installation: ID of this installation, which waits while another installation redeploys a service; empty if it
            has none.
        self_container_id: ID of the container of this process, which is never changed.
        environment: Source of DOCKER_HOST and the TLS variables.
        clock: Monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        url: str | None,
        *,
        config_dir: str | None,
        server_cap: int,
        limits: RunLimits = RunLimits(),
        stable_s: float = 3.0,
        drain_s: float = 6.5,
        installation: str = "",
        self_container_id: str | None = None,
        environment: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.info = EngineInfo(
            name=name,
            kind="docker",
            hint="On docker, each compose service and each container is one; tutum.ignore=true hides it.",
        )
        client = connect(url, config_dir, environment=environment)
        self._api = DockerApi(client, config_dir, installation, limits.timeout_s)
        self._cache = ContainerCache(self._api)
        self._server_cap = server_cap
        self._limits = limits
        self._locks = ComponentLocks()
        self._stable_s = stable_s if limits.stable_s is None else limits.stable_s
        self._context = partial(
            ActionContext,
            api=self._api,
            activity=self._cache.activity,
            stable_s=self._stable_s,
            drain_s=drain_s if limits.drain_s is None else limits.drain_s,
            clock=clock,
        )
        self._self_id = self_container_id
        self._snapshots: dict[str, tuple[ContainerGroup, ServiceSnapshot]] = {}

    def discover(self) -> tuple[ServiceSnapshot, ...]:
        """List all services. While `watch` follows the events, only changed containers are inspected."""
        snapshots: dict[str, tuple[ContainerGroup, ServiceSnapshot]] = {}
        containers = self._cache.containers()
        for group in group_by_service(containers, self._own_parts(containers)):
            known = self._snapshots.get(group.selector)
            snapshots[group.selector] = known if known and known[0] == group else (group, service_snapshot(group))
        self._snapshots = snapshots
        self.info = replace(self.info, note=describe_other_installations(containers, self._api.installation))
        return tuple(snapshot for _, snapshot in snapshots.values())

    def inspect(self, service: Service) -> ServiceSnapshot | None:
        group = self._find(service.selector, self._cache.around(service.selector))
        return None if group is None else service_snapshot(group)

    def watch(self, changed: Callable[[], None], stop: Event) -> None:
        """Follow the engine's events. `changed` is also called once at the start."""
        watch_events(self._api.client, self._cache, changed, stop)

    def redeploy(self, service: Service, run: Run) -> Outcome:
        """Replace every container. The old containers are parked until all new containers are ready."""
        self._api.forget()
        context, find = self._context(run=run), self._finder(service, run)
        with self._locks.hold(replaced_names(context, find), run):
            return redeploy(context, find, self._self_id)

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        """Return what `redeploy` would do. The digest comes from the registry."""
        group, all_containers = self._require(service)
        facts = self._api.facts()
        plan = plan_redeploy(
            group,
            all_containers,
            tag,
            self._self_id,
            wanted=image,
            is_podman=self._api.client.is_podman,
            is_refetched=facts.by_manifest,
        )
        platform = kept_platform((container.platform for container in group.containers), facts)
        present = {name: find_wanted(self._api, name) for name in plan.pulled}
        digests = check_images(self._api, present, group.containers, platform, image)
        limits = self._limits.adapted(**limits_of(group.containers, stable_s=self._stable_s))
        return _dry_run(plan, group, digests, limits, platform)

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        group, _ = self._require(service)
        name = base_image(group.containers[0])
        return find_available(images, lambda image: find_availability(self._api, name, image))

    def scale(self, service: Service, target: int, run: Run) -> Outcome:
        """Scale a service to `target` containers, at least 1: without containers, the service would not exist."""
        group = self._require_unaffected(service, run)
        cap = min(
            self._server_cap,
            parse_labels([container.labels for container in group.containers]).service_cap or self._server_cap,
        )
        if not 1 <= target <= cap:
            hint = "; to end all of its containers, stop it" if target == 0 else ""
            raise EngineRefusedError(f"{service.name} can have 1 to {cap} containers, got {target}{hint}")
        return Scaler(self._context(run=run), self._finder(service, run)).scale(target)

    def start(self, service: Service, run: Run) -> Outcome:
        containers = self._require_unaffected(service, run).containers
        return undisturbed(start_containers(self._context(run=run), containers), self._finder(service, run), run)

    def stop(self, service: Service, run: Run) -> Outcome:
        containers = self._require_unaffected(service, run).containers
        return undisturbed(stop_containers(self._context(run=run), containers), self._finder(service, run), run)

    def terminate(self, service: Service, run: Run) -> Outcome:
        """Refuse: tutumd creates no services here."""
        raise EngineRefusedError(
            f"{service.name} was not created through tutumd: remove its containers with what created them"
        )

    def logs(self, service: Service, lines: int, after: Mapping[str, str] | None = None) -> Output:
        """With several containers, each line begins with the name of its container."""
        group = self._find(service.selector, self._cache.around(service.selector))
        slots = group.slots if group else ()
        sources = [
            Source(
                id=slot.container.id[:12],
                text=self._api.output(slot.container.id, lines, since_of(after, [slot.container.id[:12]]), dated=True),
                label=f"{slot.name} | " if len(slots) > 1 else "",
            )
            for slot in slots
        ]
        return merge_output(sources, lines * len(slots), after)

    def probe(self) -> None:
        self._api.client.probe()

    def check(self) -> tuple[Finding, ...]:
        subject = f"engine {self.info.name}"
        findings = check_engine(subject, self._api.client, NEEDED)
        if any(finding.level is Level.WRONG for finding in findings):
            return findings  # the engine may not respond, and would be waited for again
        with suppress(EngineRefusedError, EngineUnavailableError):
            if others := describe_other_installations(self._cache.containers(), self._api.installation):
                fix = (
                    "it takes turns with this one; stop the one that is not needed, or let it have services of its own"
                )
                return (*findings, warning(subject, others, fix))
        return findings

    def close(self) -> None:
        self._api.client.close()

    def _find(self, selector: str, containers: Sequence[InspectedContainer]) -> ContainerGroup | None:
        groups = group_by_service(containers, self._own_parts(containers))
        return next((group for group in groups if group.selector == selector), None)

    def _require_unaffected(self, service: Service, run: Run) -> ContainerGroup:
        """Return a service whose containers are not part of another redeploy, and set the run's limits.

        Raises:
            EngineBusyError: They are.
        """
        group, all_containers = self._finder(service, run)()
        if not run.journal:
            check_no_busy_dependency(group, all_containers)
        run.set_limits(**limits_of(group.containers, stable_s=self._stable_s))
        return group

    def _finder(self, service: Service, run: Run) -> FindGroup:
        """Return a function that finds a service that no other installation redeploys."""
        return partial(
            require_free, partial(self._require, service, is_begun=bool(run.journal)), self._api, run, self._limits
        )

    def _require(
        self, service: Service, *, is_begun: bool = False
    ) -> tuple[ContainerGroup, Sequence[InspectedContainer]]:
        """Return a service and all containers.

        Args:
            is_begun: The action has begun and must continue even with containers that cannot be inspected.

        Raises:
            EngineRefusedError: The service is gone, cannot be inspected, belongs to tutumd, or is ignored by its label.
        """
        containers = self._cache.around(service.selector)
        group = self._find(service.selector, containers)
        if group is not None:
            check_readable(() if is_begun else group.containers)
            return group, containers
        raise EngineRefusedError(self._why_missing(service, containers))

    def _why_missing(self, service: Service, containers: Sequence[InspectedContainer]) -> str:
        """Return why a formerly known service does not exist now."""
        groups = group_by_service(containers, with_ignored=True)
        group = next((group for group in groups if group.selector == service.selector), None)
        if group is None:
            return f"{service.name} is gone: no container of it is left on this engine"
        parts = self._own_parts(containers)
        own = next((parts[each.id] for each in group.all_containers if each.id in parts), None)
        if own:
            return f"{own} {service.name}: replace it with what created it"
        return f"{service.name} is left alone: it has the label {IGNORE}; replace it with what created it"

    def _own_parts(self, containers: Sequence[InspectedContainer]) -> Mapping[str, str]:
        return find_own_parts(containers, self._self_id, urlsplit(self._api.client.base_url).hostname or "")


def _dry_run(
    plan: RedeployPlan, group: ContainerGroup, digests: Mapping[str, str | None], limits: RunLimits, platform: str
) -> Plan:
    first, planned = group.containers[0], plan.swaps[0]
    after = digests[planned.image]
    is_newest = after == first.image_digest and planned.image == first.image_name
    notes = (
        (
            plan.labels.skip_unchanged and is_newest,
            "there is no newer image: unless a container fails, nothing will be done",
        ),
        (group.swapping, "an earlier redeploy was interrupted: its leftovers are removed first"),
        (platform, platform_note(platform)),
    )
    return Plan(
        order=plan.order.value,
        order_reason=plan.order_reason,
        image_name=planned.image,
        image_before=first.image_digest,
        image_after=after,
        steps=describe_steps(plan),
        notes=(*(note for applies, note in notes if applies), *plan.labels.problems, *plan.notes, str(limits)),
    )


# The requests that the engine must let through, by the feature that needs them.
NEEDED = {
    "a redeploy cannot replace containers": (
        Needed("GET", "/info"),
        # Without an image: 400.
        Needed("POST", "/containers/create", body={}),
        Needed("POST", "/containers/{absent}/start"),
        Needed("POST", "/containers/{absent}/stop"),
        Needed("POST", "/containers/{absent}/rename", query={"name": "tutumd-doctor"}),
        Needed("POST", "/containers/{absent}/update", body={}),
        Needed("DELETE", "/containers/{absent}"),
    ),
    "services cannot be found": (Needed("GET", "/containers/json"), Needed("GET", "/containers/{absent}/json")),
    "changes are seen late": (Needed("GET", "/events", query={"since": "0", "until": "1"}),),
    "no output can be shown": (Needed("GET", "/containers/{absent}/logs", query={"stdout": "1"}),),
    "a redeploy cannot keep or remove images that it replaced": (
        Needed("GET", "/images/json"),
        Needed("POST", "/images/{absent}/tag", query={"repo": "tutumd-doctor", "tag": "none"}),
        Needed("DELETE", "/images/{absent}"),
    ),
    "a redeploy cannot pull the new image": (
        Needed("GET", "/images/{absent}/json"),
        Needed("POST", "/images/create", query={"fromImage": "INVALID", "tag": "none"}),
    ),
    # No such reference can exist: the registry is not asked.
    "a dry run cannot tell the newest image": (Needed("GET", "/distribution/INVALID/json"),),
    "a paused service cannot be redeployed": (
        Needed("POST", "/containers/{absent}/pause"),
        Needed("POST", "/containers/{absent}/unpause"),
    ),
    "a redeploy cannot route clients to the new container": (
        Needed("GET", "/networks/{absent}"),
        Needed("POST", "/networks/{absent}/connect", body={"Container": "none"}),
        Needed("POST", "/networks/{absent}/disconnect", body={"Container": "none"}),
    ),
    "a redeploy cannot copy the inline configs and secrets of compose": (
        Needed("GET", "/containers/{absent}/changes"),
        Needed("HEAD", "/containers/{absent}/archive", query={"path": "/"}),
        Needed("GET", "/containers/{absent}/archive", query={"path": "/"}),
        Needed("PUT", "/containers/{absent}/archive", query={"path": "/"}),
    ),
}
