"""Before anything of a service is touched: checks, images, and the new containers, not started yet."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tutumd.engines.docker.config import replacement, with_variables
from tutumd.engines.docker.dependents import dependents, moved
from tutumd.engines.docker.files import copy_inline_files
from tutumd.engines.docker.host import Host
from tutumd.engines.docker.images import fetch, fetch_again, is_local_build, preflight, put_names_back
from tutumd.engines.docker.journal import Journal, Swap
from tutumd.engines.docker.leftovers import heal
from tutumd.engines.docker.networks import endpoints, without_aliases
from tutumd.engines.docker.plans import Member, RedeployPlan, plan_redeploy, waits_for
from tutumd.engines.docker.rules import NeighbourBusyError
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import Group, next_name, prev_name
from tutumd.engines.docker.snapshots import image_digest
from tutumd.engines.dockerapi import Json, parse_reference
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

Find = Callable[[], tuple[Group, Sequence[Seen]]]
"""Looks up the service, and all containers of the engine. Raises EngineRefusedError where the service is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparer:
    """Prepares one redeploy in one run."""

    host: Host
    find: Find
    run: Run
    own_id: str | None

    def prepare(self, journal: Journal | None) -> Journal:
        """Pull and create; nothing that runs is touched, and on an error of these nothing is left.

        Returns:
            The journal at its next phase, saved: `swap`, or `unchanged` where the service wants no redeploy then.

        Raises:
            EngineRefusedError: why there can be no redeploy.
            NeighbourBusyError: There can be none now.
        """
        group, everybody = self._healed()
        if fetch_again(self.host, group.holders, self.run):
            group, everybody = self.find()
        plan = self._planned(group, everybody, journal)
        if plan.wanted.timeout_s is not None:
            self.run.set_time_limit(plan.wanted.timeout_s)
        if journal is None:
            preflight(self.host, plan.pulled, group.holders)
            self.run.log(f"{plan.order}: {plan.order_reason}")
            journal = Journal(phase="pull", tagged_before=self._meanings(plan.pulled))
            self.run.save(journal.dump())
        local = [
            name for name in plan.pulled if is_local_build(self.host, parse_reference(name), self.host.image(name))
        ]
        made: list[str] = []
        try:
            # Before the fetch, as long as the name still means the image that runs.
            spares = self._create_spares(plan, everybody, made)
            images = {name: fetch(self.host, name, self.run, local=name in local) for name in plan.pulled}
            unchanged = plan.wanted.skip_unchanged and not self.run.variables and _is_unchanged(plan, group, images)
            swaps = () if unchanged else self._create_all(plan, everybody, images, spares, made)
            for spare in spares.values() if unchanged else ():
                self.run.check()
                self.host.remove(spare, volumes=False)
            if not unchanged:
                self._check_neighbours(plan, group, made)
        except (EngineRefusedError, NeighbourBusyError):
            for container in made:
                self.run.check()
                self.host.remove(container, volumes=True)
            self._forget(journal)
            raise
        first = group.holders[0]
        journal = replace(
            journal,
            phase="unchanged" if unchanged else "swap",
            timeout_s=plan.wanted.timeout_s,
            stable_s=plan.wanted.stable_s,
            keep_images=plan.wanted.keep_images,
            local=bool(local),
            images_before=sorted({one.image_id for one in group.holders}),
            images_tried=sorted({str(image["Id"]) for image in images.values()}),
            digest_before=image_digest(first.image_name, first.image_id, first.image),
            containers_before=[one.id for one in group.holders],
            swaps=swaps,
        )
        self.run.save(journal.dump())
        return journal

    def _healed(self) -> tuple[Group, Sequence[Seen]]:
        """Look up the service, and first bring to an end what an earlier run left half done."""
        group, everybody = self.find()
        steps = [step for place in group.places for step in heal(place)]
        if not steps:
            return group, everybody
        if not self._is_own(group) and (reason := waits_for(group, everybody)):
            # It may be no leftover, but made by the redeploy of what the service depends on.
            raise NeighbourBusyError(reason)
        self.run.log("an earlier redeploy was cut off: cleaning up after it")
        for step in steps:
            self.run.check()
            if step.verb == "remove":
                # Its anonymous volumes may be those of the container that stays.
                self.host.remove(step.container, volumes=False)
            else:
                self.host.apply(step)
        return self.find()

    def _is_own(self, group: Group) -> bool:
        """Tell whether all that is left half done is of this action."""
        left = [one for place in group.places for one in (*place.previous, *place.upcoming)]
        return all(one.name.endswith(f"-{self.run.action_uuid[:8]}") for one in left)

    def _planned(self, group: Group, everybody: Sequence[Seen], journal: Journal | None) -> RedeployPlan:
        try:
            return plan_redeploy(group, everybody, self.run.tag, self.own_id)
        except NeighbourBusyError:
            if journal is not None:
                self._forget(journal)
            raise

    def _forget(self, journal: Journal) -> None:
        """Let another try begin anew: names mean something else by then, and without a journal it may be given up."""
        put_names_back(self.host, journal.tagged_before or {}, (), self.run)
        self.run.save({})

    def _check_neighbours(self, plan: RedeployPlan, group: Group, made: Sequence[str]) -> None:
        """Check that nothing of what the plan was made from changed during the pull, which may have taken long."""
        now, everybody = self.find()
        others = [one for one in everybody if one.id not in made]
        if {one.id for one in now.holders} != {one.id for one in group.holders}:
            raise NeighbourBusyError(f"the containers of {group.name} changed meanwhile")
        if reason := waits_for(group, others):
            raise NeighbourBusyError(reason)
        found = dependents(group.holders, others)
        if {one.container.id for one in found} != {member.old for member in plan.members if member.follows}:
            raise NeighbourBusyError(f"what depends on {group.name} changed meanwhile")

    def _meanings(self, names: Sequence[str]) -> dict[str, str]:
        images = {name: self.host.image(name) for name in names}
        return {name: image["Id"] for name, image in images.items() if image is not None}

    def _create_all(
        self,
        plan: RedeployPlan,
        everybody: Sequence[Seen],
        images: Mapping[str, Json],
        spares: Mapping[str, str],
        made: list[str],
    ) -> tuple[Swap, ...]:
        """Create what can be created now: containers that depend on new ones have to wait for these."""
        seen = {one.id: one for one in everybody}
        host_name = self.host.facts().host_name
        swaps = []
        for member in plan.members:
            old = seen[member.old]
            swap = replace(_swap(member, old), spare=spares.get(old.id, ""))
            if not member.follows:
                variables = self.run.variables
                body = replacement_of(old, member.image, images[member.image], everybody, host_name, variables)
                if member.start_first:
                    body["NetworkingConfig"] = {"EndpointsConfig": without_aliases(swap.endpoints)}
                swap = replace(swap, new=create(self.host, swap, old, body, images[member.image], self.run, made))
            swaps.append(swap)
        return tuple(swaps)

    def _create_spares(self, plan: RedeployPlan, everybody: Sequence[Seen], made: list[str]) -> dict[str, str]:
        """Create copies of the containers that their stop will delete; return their IDs by those of the originals."""
        spares = {}
        for member in plan.members:
            old = next(one for one in everybody if one.id == member.old)
            if not member.spare:
                continue
            body = replacement_of(old, old.image_name, old.image or {}, everybody, self.host.facts().host_name, {})
            meant = self.host.image(old.image_name)
            if meant is None or meant["Id"] != old.image_id:
                body["Image"] = old.image_id
            self.run.check()
            spares[old.id] = self.host.create(prev_name(member.name, self.run.action_uuid[:8]), body)
            made.append(spares[old.id])
            copy_inline_files(self.host, old, spares[old.id], self.run)
        return spares


def create_follower(host: Host, swap: Swap, swaps: Sequence[Swap], run: Run) -> str:
    """Create the new container of one that depends on others, which are replaced already; return its ID.

    Raises:
        EngineRefusedError: why it cannot be created.
    """
    name = next_name(swap.name, run.action_uuid[:8])
    left = host.container(name)
    if left is not None:
        # Of a process that was killed before it could save the ID.
        run.check()
        host.remove(left.id, volumes=False)
    old, image = host.container(swap.old), host.image(swap.image)
    if old is None:
        raise EngineRefusedError("it was removed by somebody else")
    if image is None:
        raise EngineRefusedError(f"its image {swap.image} has no name on the engine any more")
    body = replacement_of(old, swap.image, image, host.containers(), host.facts().host_name, {})
    body["HostConfig"] = moved(body["HostConfig"], {one.old: one.new for one in swaps if one.new})
    return create(host, swap, old, body, image, run, [])


def create(host: Host, swap: Swap, old: Seen, body: Mapping[str, Any], image: Json, run: Run, made: list[str]) -> str:
    """Create a new container beside the old one, with the files that compose copied into that; return its ID.

    Args:
        made: The ID is added, also where the rest fails.

    Raises:
        EngineRefusedError: why it cannot be created.
    """
    run.check()
    new = host.create(next_name(swap.name, run.action_uuid[:8]), body)
    made.append(new)
    seen = host.container(new)
    if seen is None or seen.image_id != image["Id"]:
        raise EngineRefusedError(f"{swap.image} was changed on the engine while {swap.name} was made from it")
    copy_inline_files(host, old, new, run)
    return new


def replacement_of(
    old: Seen,
    name: str,
    image: Json,
    everybody: Sequence[Seen],
    host_name: str,
    variables: Mapping[str, str | None],
) -> dict[str, Any]:
    """Return the create request of a container that takes the place of `old`, made from the image called `name`."""
    body = replacement(old.raw, old.image or {}, image, _volume_sources(old, everybody), host_name)
    return with_variables({**body, "Image": name}, variables)


def _swap(member: Member, old: Seen) -> Swap:
    return Swap(
        name=member.name,
        old=old.id,
        new="",
        image=member.image,
        run=member.runs,
        ran=old.runs,
        paused=old.status == "paused",
        policy=dict(old.policy),
        start_first=member.start_first,
        endpoints=endpoints(old.raw),
        follows=bool(member.follows),
        auto_remove=bool((old.raw.get("HostConfig") or {}).get("AutoRemove")),
    )


def _is_unchanged(plan: RedeployPlan, group: Group, images: Mapping[str, Json]) -> bool:
    """Tell whether every container runs, and from the very image that a new one would be made from."""
    pairs = zip(plan.members, group.holders, strict=False)
    return all(
        old.status == "running"
        and old.health != "unhealthy"
        and member.image == old.image_name
        and images[member.image]["Id"] == old.image_id
        for member, old in pairs
    )


def _volume_sources(old: Seen, everybody: Sequence[Seen]) -> dict[str, set[str]]:
    """Return the entries of VolumesFrom whose containers are there, with the destinations that come through each.

    Compose writes an ID there, which dies with the redeploy of that container.
    """
    found: dict[str, set[str]] = {}
    for entry in (old.raw.get("HostConfig") or {}).get("VolumesFrom") or ():
        source = entry.partition(":")[0]
        for one in everybody:
            if one.name == source or one.id.startswith(source):
                found.setdefault(entry, set()).update(mount["Destination"] for mount in one.raw.get("Mounts") or ())
    return found
