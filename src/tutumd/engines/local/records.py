"""Records of services, as values and as JSON.

A record is written before a process is started or ended, so that after a kill it names every possible process. A
service has three groups of containers: the present ones; the incoming ones of a change, which do not count until all of
them are stable; and the leaving ones, which are about to end.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Literal

from pydantic import TypeAdapter

from tutumd.engines.local.procfs import Identity
from tutumd.model import Definition


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerRecord:
    """One container.

    Attributes:
        id: New for every process, also after a restart.
        number: The N of the name `NAME-N`, from 1.
        slot: Name of the output file. A restarted process appends to the file of its predecessor.
        process: The first process. None until its start is confirmed.
        ended: Time at which its end was noticed. `exit_code` is None if it is unknown.
        restarts: Number of successive automatic restarts without a long run.
    """

    id: str
    number: int
    slot: str
    process: Identity | None = None
    started: datetime | None = None
    ended: datetime | None = None
    exit_code: int | None = None
    restarts: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired:
    """The desired state of a service.

    Attributes:
        variables: Variables of the last redeploy, beside those of the definition. None removes a variable.
    """

    definition: Definition
    image_name: str
    target: int
    variables: Mapping[str, str | None] = field(default_factory=dict)
    stopped: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change(Desired):
    """The change of a service by an action, until it is applied or dropped, with what the service runs after it.

    Attributes:
        action: UUID of the action.
        keep: Numbers of the present containers that stay. All others leave after the incoming containers are stable.
        note: A remark for the outcome.
    """

    action: str
    keep: tuple[int, ...] = ()
    incoming: tuple[ContainerRecord, ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceRecord(Desired):
    """One service.

    Attributes:
        format: Version of the JSON. A record of another version is not read.
        undo: The change that restores the leaving containers while they run; None after they have ended.
        settled: UUID of the last action whose change was applied; empty before the first.
    """

    format: Literal[1] = 1
    uuid: str
    name: str
    containers: tuple[ContainerRecord, ...] = ()
    leaving: tuple[ContainerRecord, ...] = ()
    change: Change | None = None
    undo: Change | None = None
    settled: str = ""

    @property
    def incoming(self) -> tuple[ContainerRecord, ...]:
        """The containers that the change adds."""
        return self.change.incoming if self.change else ()

    @property
    def all_containers(self) -> tuple[ContainerRecord, ...]:
        """The present, incoming and leaving containers."""
        return self.containers + self.incoming + self.leaving

    @property
    def digest(self) -> str:
        """Digest of the running definition."""
        return definition_digest(self.definition)


def container_name(record: ServiceRecord, container: ContainerRecord) -> str:
    """Return the name of a container: `SERVICE-NUMBER`."""
    return f"{record.name}-{container.number}"


def definition_digest(definition: Definition) -> str:
    """Return a digest of the definition's content, in the form of an image digest."""
    content = json.dumps(asdict(definition), sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(content.encode()).hexdigest()}"


def apply_change(record: ServiceRecord) -> ServiceRecord:
    """Return the record with its change applied: incoming and kept containers are present, all others leave."""
    change = record.change
    if change is None:
        return record
    kept = tuple(c for c in record.containers if c.number in change.keep)
    others = tuple(c for c in record.containers if c.number not in change.keep)
    return replace(
        record,
        definition=change.definition,
        image_name=change.image_name,
        target=change.target,
        variables=change.variables,
        stopped=change.stopped,
        containers=tuple(sorted(kept + change.incoming, key=lambda c: c.number)),
        leaving=record.leaving + others,
        change=None,
        undo=Change(
            action=record.settled,
            definition=record.definition,
            image_name=record.image_name,
            target=record.target,
            variables=record.variables,
            stopped=record.stopped,
            keep=change.keep,
            incoming=others,
        ),
        settled=change.action,
    )


def undo_change(record: ServiceRecord) -> ServiceRecord:
    """Return the record before its last change. The containers of that change leave. The other containers must run."""
    back = record.undo.incoming if record.undo else ()
    return replace(
        apply_change(replace(record, leaving=tuple(c for c in record.leaving if c not in back), change=record.undo)),
        undo=None,
    )


def drop_change(record: ServiceRecord) -> ServiceRecord:
    """Return the record without its change. The incoming containers of that change leave."""
    return replace(record, leaving=record.leaving + record.incoming, change=None)


def replace_container(record: ServiceRecord, container: ContainerRecord, *, old_id: str | None = None) -> ServiceRecord:
    """Return the record with `container` in place of the present or incoming container with `old_id`, or else its own
    ID.
    """

    def replaced(group: tuple[ContainerRecord, ...]) -> tuple[ContainerRecord, ...]:
        return tuple(container if c.id == (old_id or container.id) else c for c in group)

    return replace(
        record,
        containers=replaced(record.containers),
        change=replace(record.change, incoming=replaced(record.change.incoming)) if record.change else None,
    )


# The JSON of a record. It raises ValueError for invalid content.
RECORD_JSON = TypeAdapter(ServiceRecord)
