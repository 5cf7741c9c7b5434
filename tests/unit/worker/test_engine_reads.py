"""Reads from an engine whose arguments anybody may have written."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest

from tests.support.runs import SEAL
from tests.support.services import service_row
from tests.support.stores import snapshot
from tests.unit.worker.fakes import FakeEngine
from tutumd.errors import EngineRefusedError
from tutumd.model import Availability, EngineRequest, Plan, Service, WantedImage
from tutumd.ports.engine import Engine
from tutumd.worker.engine_reads import read_engine

WEB = service_row(engine="docker", selector="name:web")
DIGEST, IMAGE_ID = (f"sha256:{digit * 64}" for digit in "01")


class ImageEngine(FakeEngine):
    def __init__(self) -> None:
        super().__init__()
        self.snapshot = snapshot("web")
        self.asked: list[WantedImage | None] = []

    def availability(self, service: Service, images: Sequence[WantedImage]) -> Mapping[int, Availability]:
        self.asked += images
        return {image.number: Availability.LOCAL for image in images}

    def plan(self, service: Service, tag: str | None, image: WantedImage | None = None) -> Plan:
        self.asked.append(image)
        return Plan()


def read(engine: ImageEngine, kind: str, **arguments: Any) -> dict[str, Any]:
    request = EngineRequest(uuid="1", kind=kind, service=WEB, arguments=arguments)
    return read_engine(cast(Engine, engine), request, SEAL)


def test_availability_is_read_of_images_that_may_be_restored() -> None:
    engine = ImageEngine()
    seal = SEAL.sign_image("docker", "name:web", IMAGE_ID)
    trusted = [{"number": 1, "digest": DIGEST}, {"number": 2, "image_id": IMAGE_ID, "seal": seal}]
    others: list[Any] = [{"number": 3, "image_id": IMAGE_ID}, {"number": 4, "digest": "evil"}, "evil"]
    assert read(engine, "images", images=trusted + others) == {"images": {"1": "local", "2": "local"}}
    assert read(engine, "images", images="evil") == {"images": {}}
    assert len(read(engine, "images", images=[{"number": n, "digest": DIGEST} for n in range(99)])["images"]) == 21


def test_a_plan_has_the_image_of_a_rollback() -> None:
    engine = ImageEngine()
    read(engine, "plan", image={"number": 1, "digest": DIGEST, "image_id": IMAGE_ID, "seal": ""})
    read(engine, "plan", image=None)
    read(engine, "plan")
    assert engine.asked == [WantedImage(number=1, digest=DIGEST), None, None]
    with pytest.raises(EngineRefusedError, match="refused"):
        read(engine, "plan", image={"number": 1, "digest": "evil"})
