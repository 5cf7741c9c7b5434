"""Values that the unit tests of the local engine begin with."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tests.support.services import service_row
from tutumd.engines.local.procfs import Identity
from tutumd.engines.local.records import ContainerRecord, ServiceRecord
from tutumd.model import Autorestart, Definition, Service

SERVICE_UUID = "7a1c9b52-0f5e-4a55-9d4e-1b1f5a3c2d10"
ACTION_UUID = "c0ffee00-0000-4000-8000-000000000001"
NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
OLD = Definition(command="run old")
NEW = Definition(command="run new", envvars={"A": "1"}, working_dir="/srv", autorestart=Autorestart.ALWAYS)


def service(*, target: int = 2, definition: Definition | None = NEW) -> Service:
    row = service_row(engine="local", selector=SERVICE_UUID, uuid=SERVICE_UUID, image_name="new image")
    return replace(row, target=target, definition=definition)


def identity(pid: int) -> Identity:
    return Identity(pid=pid, start_ticks=1000 + pid, boot_id="boot")


def container(number: int, **fields: Any) -> ContainerRecord:
    plain = ContainerRecord(
        id=f"old-{number}", number=number, slot=f"old-{number}", process=identity(number), started=NOON
    )
    return replace(plain, **fields)


def record(*numbers: int, **fields: Any) -> ServiceRecord:
    plain = ServiceRecord(
        uuid=SERVICE_UUID,
        name="web",
        definition=OLD,
        image_name="old image",
        target=len(numbers),
        containers=tuple(container(number) for number in numbers),
        settled="an earlier action",
    )
    return replace(plain, **fields)
