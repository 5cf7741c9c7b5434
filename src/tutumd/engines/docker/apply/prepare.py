"""Preparation of a redeploy: checks, pulls, and the creation of the new containers, which are not yet started."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from typing import Any

from tutumd.engines.docker.api import DockerApi
from tutumd.engines.docker.apply.compose_files import copy_compose_files
from tutumd.engines.docker.look.containers import InspectedContainer, image_digest, listed_name
from tutumd.engines.docker.look.facts import kept_platform, platform_note
from tutumd.engines.docker.look.other_installations import OtherInstallationError
from tutumd.engines.docker.look.readiness import ActionContext
from tutumd.engines.docker.look.services import (
    ContainerGroup,
    FindGroup,
    base_name,
    next_name,
    prev_name,
    run_of,
)
from tutumd.engines.docker.look.snapshot import base_image, describe_file, with_base
from tutumd.engines.docker.plan.config import COMPOSE_IMAGE, replacement_config, with_variables, without_aliases
from tutumd.engines.docker.plan.constraints import (
    check_no_busy_dependency,
    check_readable,
    find_dependents,
    parked_dependents,
    with_successors,
)
from tutumd.engines.docker.plan.images import (
    check_images,
    fetch_image,
    find_wanted,
    is_local_build,
    refetch_missing_images,
    restore_tags,
)
from tutumd.engines.docker.plan.journal import RedeployJournal, Swap, load_journal
from tutumd.engines.docker.plan.redeploy import RedeployPlan, plan_redeploy
from tutumd.engines.docker.recover.rollback import recover_slots
from tutumd.engines.labels import Json, parse_reference
from tutumd.errors import EngineBusyError, EngineRefusedError

_Containers = Sequence[InspectedContainer]


def prepare(context: ActionContext, find: FindGroup, self_id: str | None) -> RedeployJournal:
    """Pull images and create containers. No running container changes, and an error leaves nothing behind.

    Returns:
        The journal, saved, at phase `swap`, or `unchanged` if the redeploy does nothing.

    Raises:
        EngineRefusedError: The service cannot be redeployed.
        EngineBusyError: It cannot be redeployed now.
    """
    try:
        group, containers = _recover(context, find)
        if refetch_missing_images(context.api, group.containers, context.run):
            group, containers = find()
        # Also if the run was killed in this phase: the replacement of an unreadable container would lack its settings.
        check_readable(group.containers)
        wanted, is_podman = context.run.image, context.api.client.is_podman
        plan = plan_redeploy(group, containers, context.run.tag, self_id, wanted=wanted, is_podman=is_podman)
        journal = _prepare(context, find, plan, containers)
    except (EngineRefusedError, EngineBusyError) as error:
        for entry in context.api.list_containers():
            container = context.api.container(entry["Id"]) if run_of(listed_name(entry)) == context.run_id else None
            # A container that has run is an old container, parked by a run without a journal.
            if container is not None and run_of(container.name) == context.run_id and container.started is None:
                context.api.remove(container.id, context.run, volumes=True)
        if begun := load_journal(context.run.journal):
            # The next attempt starts from the beginning. Without a journal, the worker may also give up.
            if not isinstance(error, OtherInstallationError):  # whose new containers use the image just pulled
                restore_tags(context.api, begun.tagged_before or {}, (), context.run)
            context.run.save({})
        raise
    context.run.save(asdict(journal))
    return journal


def create_dependent(context: ActionContext, swap: Swap, swaps: Sequence[Swap]) -> Swap:
    """Create the new container of a dependent whose dependencies are already replaced; return its swap.

    Raises:
        EngineRefusedError: It cannot be created.
    """
    api = context.api
    leftover = api.container(next_name(swap.name, context.run_id))
    if leftover is not None:
        # The process that created it was killed before it could save the ID.
        api.remove(leftover.id, context.run, volumes=False)
    old, image = api.container(swap.old), api.image(swap.image)
    if old is None:
        raise EngineRefusedError("it was removed by somebody else")
    if image is None:
        raise EngineRefusedError(f"its image {swap.image} has no name on the engine any more")
    body = _replacement_config(api, old, swap.image, image)
    body["HostConfig"] = with_successors(body["HostConfig"], {each.old: each.new for each in swaps if each.new})
    return _create(context, swap, old, body, image)


def _recover(context: ActionContext, find: FindGroup) -> tuple[ContainerGroup, _Containers]:
    """Return the service and all containers, after removing the leftovers of an earlier run."""
    group, containers = find()
    dependents = parked_dependents(group, containers)
    leftovers = [each for slot in (*group.slots, *dependents) for each in slot.swapping]
    if not leftovers:
        return group, containers
    if not all(run_of(container.name) == context.run_id for container in leftovers):
        # They may belong to a running redeploy of a dependency of the service.
        check_no_busy_dependency(group, containers)
    context.run.log("an earlier redeploy was interrupted: cleaning up after it")
    recover_slots(context, group.slots, dependents)
    return find()


def _prepare(context: ActionContext, find: FindGroup, plan: RedeployPlan, containers: _Containers) -> RedeployJournal:
    api, run = context.api, context.run
    by_id = {container.id: container for container in containers}
    own = [by_id[swap.old] for swap in plan.own_swaps]
    journal = load_journal(run.journal)
    platform = kept_platform((container.platform for container in own), api.facts())
    wanted = run.image
    present = {name: find_wanted(api, name) for name in plan.pulled}
    if journal is None:
        check_images(api, present, own, platform, wanted)
        notes = (platform_note(platform),) if platform else ()
        for text in (f"{plan.order}: {plan.order_reason}", *notes, *plan.left_tags, *describe_file(own)):
            run.log(text)
        # A rollback changes no tag.
        tagged = {} if wanted else {name: image["Id"] for name, image in present.items() if image is not None}
        journal = RedeployJournal(phase="pull", tagged_before=tagged)
        run.save(asdict(journal))
    local = {name: wanted is None and is_local_build(api, parse_reference(name), present[name]) for name in plan.pulled}
    # Before the pull, while the name still refers to the running image.
    spares = {swap.old: create_spare(context, by_id[swap.old]) for swap in plan.swaps if swap.needs_spare}
    images = {
        name: fetch_image(api, name, image, run, is_local=local[name], platform=platform)
        for name, image in present.items()
    }
    swaps = [replace(swap, spare=spares.get(swap.old, "")) for swap in plan.swaps]
    may_skip = plan.labels.skip_unchanged if run.skip_unchanged is None else run.skip_unchanged
    is_unchanged = may_skip and not run.variables and _is_unchanged(plan, own, images)
    if is_unchanged:
        for spare in spares.values():
            api.remove(spare, run, volumes=False)
    else:
        swaps = [_create_replacement(context, swap, by_id[swap.old], images) for swap in swaps]
        _check_unaffected(context, find, own, plan)
    first = plan.swaps[0]
    return replace(
        journal,
        phase="unchanged" if is_unchanged else "swap",
        local=any(local.values()),
        images_before=sorted({container.image_id for container in own}),
        images_tried=sorted({str(image["Id"]) for image in images.values()}),
        digest_before=own[0].image_digest,
        digest_tried=image_digest(first.image, str(images[first.image]["Id"]), images[first.image]),
        left_tags=plan.left_tags,
        swaps=tuple(plan.swaps if is_unchanged else swaps),
    )


def _check_unaffected(context: ActionContext, find: FindGroup, own: _Containers, plan: RedeployPlan) -> None:
    """Check that the plan still fits after the pull, which may have taken a long time."""
    group, containers = find()
    others = [container for container in containers if run_of(container.name) != context.run_id]
    if {(each.id, each.is_active) for each in group.containers} != {(each.id, each.is_active) for each in own}:
        raise EngineBusyError(f"the containers of {group.name} changed in the meantime")
    check_no_busy_dependency(group, others)
    if {each.container.id for each in find_dependents(own, others)} != {
        swap.old for swap in plan.swaps if swap.follows
    }:
        raise EngineBusyError(f"the containers that depend on {group.name} changed in the meantime")


def create_spare(context: ActionContext, old: InspectedContainer) -> str:
    """Create a copy of a container that was removed or that its stop will delete; return its ID."""
    body = _replacement_config(context.api, old, old.image_name, old.image or {})
    if (context.api.image(old.image_name) or {}).get("Id") != old.image_id:
        body["Image"] = old.image_id
    spare = context.api.create(prev_name(base_name(old.name), context.run_id), body, context.run)
    created = context.api.container(spare)
    if created is not None and context.api.container(old.id) is not None:
        copy_compose_files(context.api, old, created, context.run)
    return spare


def with_copies(
    context: ActionContext,
    swaps: Iterable[Swap],
    known: Mapping[str, InspectedContainer],
    removed: Collection[str],
) -> Iterator[Swap]:
    """Yield the swaps. If a swap has no container, or none that runs, its spare is a copy of its old container.

    A person who removes both containers ends the service, and it stays ended. But the run may have removed the old
    container itself, or Compose may have failed to re-create it. Compose then leaves a container called `ID_NAME`.

    Args:
        known: Containers by ID, as they were before the run changed them.
        removed: IDs of the containers that the run removed.
    """
    names = {listed_name(entry) for entry in context.api.list_containers()}
    for swap in swaps:
        old, new = known.get(swap.old), context.api.container(swap.new) if swap.new else None
        has_ended = swap.ran and not swap.follows and not (new is not None and new.is_active)
        is_gone = not any(map(context.api.container, filter(None, (swap.old, swap.spare))))
        is_unfinished = names & {f"{each[:12]}_{swap.name}" for each in (swap.old, swap.new)}
        if old is not None and has_ended and is_gone and (swap.old in removed or is_unfinished):
            with suppress(EngineRefusedError):
                swap = replace(swap, spare=create_spare(context, old))
        yield swap


def _create_replacement(
    context: ActionContext, swap: Swap, old: InspectedContainer, images: Mapping[str, Json]
) -> Swap:
    """Create the new container of a swap. The container of a dependent has to wait for its dependencies."""
    if swap.follows:
        return swap
    body = _replacement_config(context.api, old, swap.image, images[swap.image])
    body["Labels"] = with_base(body["Labels"], base_image(old), swap.image)
    if context.run.image and COMPOSE_IMAGE in body["Labels"] and (newest := context.api.image(base_image(old))):
        # `docker compose up` keeps the container while the name refers to the same image as now.
        body["Labels"][COMPOSE_IMAGE] = newest["Id"]
    if swap.start_first:
        body["NetworkingConfig"] = {"EndpointsConfig": without_aliases(swap.endpoints)}
    return _create(context, swap, old, with_variables(body, context.run.variables), images[swap.image])


def _create(context: ActionContext, swap: Swap, old: InspectedContainer, body: Mapping[str, Any], image: Json) -> Swap:
    new = context.api.create(next_name(swap.name, context.run_id), body, context.run)
    created = context.api.container(new, {str(image["Id"]): image})
    if created is None or created.image_id != image["Id"]:
        # In the meantime, another installation has pulled, or somebody else has pulled or built.
        raise OtherInstallationError(f"{swap.image} changed on the engine while a container was created from it")
    context.remember(old)
    context.remember(created)
    copy_compose_files(context.api, old, created, context.run)
    return replace(swap, new=new)


def _replacement_config(api: DockerApi, old: InspectedContainer, name: str, image: Json) -> dict[str, Any]:
    """Return the create request of a container that replaces `old`, from the image called `name`."""
    # Compose writes the ID of a container into VolumesFrom, which is invalid after a redeploy of that container.
    providers = {entry: api.container(entry.partition(":")[0]) for entry in old.host_config.get("VolumesFrom") or ()}
    sources = {
        entry: {mount["Destination"] for mount in provider.raw.get("Mounts") or ()}
        for entry, provider in providers.items()
        if provider is not None
    }
    config = replacement_config(old.raw, old.image or {}, image, sources, api.facts().host_name)
    return {**config, "Image": name}


def _is_unchanged(plan: RedeployPlan, own: _Containers, images: Mapping[str, Json]) -> bool:
    """Return True if every container runs, from the same image that the new container would use."""
    return all(
        old.status == "running"
        and old.health != "unhealthy"
        and planned.image == old.image_name
        and images[planned.image]["Id"] == old.image_id
        for planned, old in zip(plan.own_swaps, own, strict=True)
    )
