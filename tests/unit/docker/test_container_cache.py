"""A look at one service: what is inspected for it, and what is known of the other containers."""

from collections.abc import Mapping
from typing import Any

import pytest
import requests.exceptions

from tests.support.docker_errors import api_error
from tests.unit.docker.documents import identity
from tests.unit.docker.fake_docker import FakeDocker
from tutumd.engines.docker.look.cache import ContainerCache
from tutumd.engines.docker.look.containers import InspectedContainer
from tutumd.engines.docker.plan.constraints import find_dependents
from tutumd.engines.labels import Json
from tutumd.errors import EngineUnavailableError


class Counting(FakeDocker):
    """An engine that notes what was inspected, and cannot inspect the containers in `odd`."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[str] = []
        self.odd: dict[str, Exception | Any] = {}
        self.away = False
        self.cache = ContainerCache(self.api, clock=lambda: self.now)

    def probe(self) -> None:
        if self.away:
            raise EngineUnavailableError("cannot reach the engine")

    def inspect_container(self, reference: str) -> Json:
        self.asked.append(self._present(reference)["Name"][1:])
        odd = self.odd.get(reference)
        if isinstance(odd, Exception):
            raise odd
        document: Json = super().inspect_container(reference) if odd is None else odd
        return document

    def inspect_image(self, reference: str) -> Json:
        self.asked.append(reference)
        if isinstance(odd := self.odd.get(reference), Exception):
            raise odd
        return super().inspect_image(reference)

    def around(self, name: str) -> dict[str, InspectedContainer]:
        """Look at a service; return all containers by name."""
        del self.asked[:]
        found = self.cache.around(f"name:{name}")
        self.asked = [each for each in self.asked if not each.startswith("sha256:")]
        return {container.name: container for container in found}


def test_only_a_service_and_what_depends_on_it_are_inspected_again() -> None:
    engine = Counting()
    web = engine.add(1, "web")
    engine.add(2, "other")
    engine.add(3, "sidecar", host={"PidMode": f"container:{web}"})
    engine.add(4, "linked", host={"Links": ["/web:/linked/db"]})
    assert engine.around("web").keys() == {"web", "other", "sidecar", "linked"}
    assert sorted(engine.asked) == ["linked", "other", "sidecar", "web"]
    engine.around("web")
    assert sorted(engine.asked) == ["linked", "sidecar", "web"]
    engine.around("other")
    assert engine.asked == ["other"]


def test_what_discovery_has_inspected_is_not_inspected_again() -> None:
    engine = Counting()
    engine.add(1, "web")
    engine.add(2, "other")
    engine.cache.containers()
    engine.around("web")
    assert engine.asked == ["web"]


def test_name_and_status_of_the_others_are_those_of_the_list() -> None:
    engine = Counting()
    engine.add(1, "web")
    other = engine.add(2, "other")
    engine.around("web")
    engine.rename(other, "renamed")
    engine.all[other]["State"]["Status"] = "exited"
    assert engine.around("web")["renamed"].status == "exited"
    assert engine.asked == ["web"]


def test_what_is_being_replaced_is_inspected() -> None:
    engine = Counting()
    engine.add(1, "web")
    for number, name in enumerate(("db", "db-tutum-next-0a1b2c3d", "other"), start=2):
        engine.add(number, name)
    engine.around("web")
    engine.around("web")
    assert sorted(engine.asked) == ["db", "db-tutum-next-0a1b2c3d", "web"]


def test_a_container_that_is_being_renamed_is_inspected() -> None:
    engine = Counting()
    web = engine.add(1, "web")
    engine.around("other")
    entries = engine.containers(all=True)
    entries[0] = {**entries[0], "Names": ["/web-tutum-prev-0a1b2c3d", "/web", "/linker/db"]}
    engine.containers = lambda *, all: entries  # type: ignore[method-assign]
    assert engine.around("other")["web"].id == web
    assert engine.asked == ["web"]


@pytest.mark.parametrize(
    "fault",
    [
        api_error(500, "RWLayer is nil"),
        api_error(403, "no"),
        requests.exceptions.ReadTimeout("silent"),
        requests.exceptions.InvalidJSONError("no JSON"),
        ["a list"],
        {"Id": identity(2)},
        {"Id": identity(2), "Name": "/odd", "State": {"StartedAt": "yesterday"}},
    ],
)
def test_a_container_that_cannot_be_inspected_is_known_by_the_list(fault: Exception | Mapping[str, Any]) -> None:
    engine = Counting()
    web = engine.add(1, "web")
    odd = engine.add(2, "odd", status="paused", labels={"tutum.owner": "ann"})
    net = engine.add(3, "net", host={"NetworkMode": f"container:{web}"})
    engine.odd = {odd: fault, net: fault}
    for shown in ({one.name: one for one in engine.cache.containers()}, engine.around("web")):
        assert shown.keys() == {"web", "odd", "net"}
        assert (shown["odd"].id, shown["odd"].status) == (odd, "paused")
        assert shown["odd"].labels == {"tutum.owner": "ann"}
        assert shown["odd"].fault.startswith(f"cannot look at the container {odd}: ")
        assert shown["web"].fault == ""
        assert [each.container.id for each in find_dependents([shown["web"]], [*shown.values()])] == [net]
    engine.away = True
    with pytest.raises(EngineUnavailableError, match="cannot reach the engine"):
        engine.cache.containers()


def test_a_container_that_could_not_be_inspected_is_tried_again_after_a_while() -> None:
    engine = Counting()
    odd = engine.add(2, "odd")
    engine.cache.enable()
    engine.odd = {odd: api_error(500, "RWLayer is nil")}
    assert engine.cache.containers()[0].fault
    del engine.asked[:]
    engine.odd = {}
    assert engine.cache.containers()[0].fault
    assert engine.asked == []
    engine.now += 60
    assert engine.cache.containers()[0].fault == ""


def test_an_event_without_an_id_changes_nothing() -> None:
    engine = Counting()
    engine.add(1, "web")
    engine.cache.enable()
    engine.cache.containers()
    engine.cache.invalidate({"Type": "image", "Action": "pull-error", "Actor": {"ID": ""}})
    engine.cache.invalidate({"Type": "container", "Action": "died"})
    del engine.asked[:]
    assert [container.name for container in engine.cache.containers()] == ["web"]
    assert engine.asked == []


def test_an_event_of_an_image_asks_for_that_image_alone() -> None:
    engine = Counting()
    engine.add(1, "web")
    engine.cache.enable()
    [web] = engine.cache.containers()
    for reference, asked in (("sha256:other", ["sha256:other"]), (web.image_id, [web.image_id, web.image_id])):
        del engine.asked[:]
        engine.cache.invalidate({"Type": "image", "Action": "tag", "Actor": {"ID": reference}})
        assert engine.cache.containers() == (web,)
        assert engine.asked == asked


def test_a_container_whose_image_cannot_be_inspected_is_not_gone() -> None:
    engine = Counting()
    web = engine.add(1, "web")
    engine.odd[engine.all[web]["Image"]] = api_error(500, "layer does not exist")
    with pytest.raises(EngineUnavailableError, match="layer does not exist"):
        engine.api.container(web)


def test_an_image_that_cannot_be_inspected_hides_no_container() -> None:
    engine = Counting()
    engine.add(1, "web")
    engine.cache.enable()
    [web] = engine.cache.containers()
    engine.odd[web.image_id] = api_error(500, "layer does not exist")
    engine.cache.invalidate({"Type": "image", "Action": "untag", "Actor": {"ID": web.image_id}})
    assert engine.cache.containers() == (web,)
