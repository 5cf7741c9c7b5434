"""REDEPLOY: plan, then swap, then remove the old containers or put them back."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from tutumd.engines.docker.config import replacement
from tutumd.engines.docker.files import copy_inline_files
from tutumd.engines.docker.host import Host
from tutumd.engines.docker.images import fetch, is_local_build, put_names_back
from tutumd.engines.docker.journal import Journal, Swap, load
from tutumd.engines.docker.leftovers import heal
from tutumd.engines.docker.rules import check_replaceable
from tutumd.engines.docker.seen import Seen
from tutumd.engines.docker.selectors import Group, next_name
from tutumd.engines.docker.snapshots import image_digest
from tutumd.engines.docker.swap import Swapper
from tutumd.engines.docker.trial import Trial
from tutumd.engines.dockerapi import Json, parse_reference
from tutumd.errors import EngineRefusedError
from tutumd.model import Outcome
from tutumd.ports import Run

Find = Callable[[], tuple[Group, Sequence[Seen]]]
"""Looks up the service, and all containers of the engine. Raises EngineRefusedError where the service is gone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Redeployer:
    """Redeploys one service in one run."""

    host: Host
    trial: Trial
    find: Find
    run: Run

    def redeploy(self) -> Outcome:
        """Go on from wherever the journal says an earlier process was killed."""
        journal = load(self.run.journal)
        if journal is None or journal.phase == "pull":
            journal = self._prepare(journal)
        swapper = Swapper(host=self.host, trial=self.trial, run=self.run)
        if journal.phase == "swap":
            journal = swapper.swap(journal)
        if journal.phase == "restore":
            return self._failed(journal, swapper.restore(journal))
        return self._succeeded(journal, swapper.commit(journal))

    def _prepare(self, journal: Journal | None) -> Journal:
        """Pull and create; nothing that runs is touched, and on a refusal nothing is left."""
        group, everybody = self._healed()
        for one in group.holders:
            check_replaceable(one, everybody)
        names = {one.image_name for one in group.holders}
        if journal is None:
            journal = Journal(phase="pull", tagged_before=self._tags(names))
            self.run.save(journal.dump())
        made: list[str] = []
        try:
            images = {name: fetch(self.host, name, self.run) for name in sorted(names)}
            swaps = tuple(self._create(place.name, place.holder, images, everybody, made) for place in group.places)
        except EngineRefusedError:
            for container in made:
                self.run.check()
                self.host.remove(container, volumes=True)
            put_names_back(self.host, journal.tagged_before or {}, (), self.run)
            raise
        first = group.holders[0]
        journal = replace(
            journal,
            phase="swap",
            local=any(is_local_build(parse_reference(name), image) for name, image in images.items()),
            images_before=sorted({one.image_id for one in group.holders}),
            images_tried=sorted({str(image["Id"]) for image in images.values()}),
            digest_before=image_digest(first.image_name, first.image_id, first.image),
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
        self.run.log("an earlier redeploy was cut off: cleaning up after it")
        for step in steps:
            self.run.check()
            if step.verb == "remove":
                # Its anonymous volumes may be those of the container that stays.
                self.host.remove(step.container, volumes=False)
            else:
                self.host.apply(step)
        return self.find()

    def _tags(self, names: set[str]) -> dict[str, str]:
        images = {name: self.host.image(name) for name in names}
        return {name: image["Id"] for name, image in images.items() if image is not None}

    def _create(
        self, name: str, old: Seen, images: Mapping[str, Json], everybody: Sequence[Seen], made: list[str]
    ) -> Swap:
        body = replacement(old.raw, old.image or {}, images[old.image_name], _volume_sources(old, everybody))
        self.run.check()
        new = self.host.create(next_name(name, self.run.action_uuid[:8]), body)
        made.append(new)
        seen = self.host.container(new)
        if seen is None or seen.image_id != images[old.image_name]["Id"]:
            raise EngineRefusedError(f"{old.image_name} was changed on the engine while {name} was made from it")
        copy_inline_files(self.host, old, new, self.run)
        return Swap(
            name=name,
            old=old.id,
            new=new,
            run=old.runs or not old.stopped_on_purpose,
            ran=old.runs,
            paused=old.status == "paused",
            policy=dict(old.policy),
        )

    def _succeeded(self, journal: Journal, problems: Sequence[str]) -> Outcome:
        first = self.host.container(journal.swaps[0].new)
        return Outcome(
            success=True,
            reason="; ".join((*_remarks(journal), *problems)),
            image_before=journal.digest_before,
            image_after=image_digest(first.image_name, first.image_id, first.image) if first else None,
            containers_before=tuple(swap.old for swap in journal.swaps),
            containers_after=tuple(swap.new for swap in journal.swaps),
        )

    def _failed(self, journal: Journal, problems: Sequence[str]) -> Outcome:
        after = [one for swap in journal.swaps for one in (swap.old, swap.new) if self.host.container(one) is not None]
        return Outcome(
            success=False,
            reason="; ".join((journal.reason, *problems)),
            log_tail=journal.log_tail,
            rolled_back=not problems,
            image_before=journal.digest_before,
            image_after=None if problems else journal.digest_before,
            containers_before=tuple(swap.old for swap in journal.swaps),
            containers_after=tuple(after),
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


def _remarks(journal: Journal) -> list[str]:
    stopped = sum(not swap.run or swap.paused for swap in journal.swaps)
    total = len(journal.swaps)
    remarks = []
    if stopped == total:
        remarks.append("the service is stopped: it was replaced and stays stopped")
    elif stopped:
        remarks.append(f"{stopped} of {total} containers were stopped: they were replaced and stay stopped")
    if journal.local:
        remarks.append("the image was never in a registry: the local one was used")
    return remarks
