"""Finding the object that a person means."""

import pytest

import tutum
from tests.unit.sdk.fake_api import DB, DEPLOY, GROW, OTHER_WEB, WEB, FakeApi, service
from tutum.lookup import find_handler

HANDLERS = [
    tutum.Handler(FakeApi.handler(DEPLOY, "deploy", "REDEPLOY")),
    tutum.Handler(FakeApi.handler(GROW, "grow", "SCALEUP")),
]


@pytest.mark.parametrize("identifier", [WEB, WEB.upper(), "web", "61a29874", "61A2", "6"])
def test_a_service_is_found_by_uuid_name_or_start(api: FakeApi, identifier: str) -> None:
    assert tutum.Utils.fetch_remote_service(identifier).uuid == WEB


def test_the_server_is_asked_what_a_reference_means(api: FakeApi) -> None:
    api.services = [service(WEB, "web", full_name="shop/web"), service(OTHER_WEB, "web", full_name="blog/web")]
    assert tutum.Utils.fetch_remote_service("blog/web").uuid == OTHER_WEB
    assert dict(api.requests[-1].url.params) == {"limit": "100", "reference": "blog/web"}


def test_a_line_end_in_a_name_makes_no_other_candidate(api: FakeApi) -> None:
    api.services = [service(uuid, "web", full_name=f"{stack}/web") for uuid, stack in ((WEB, "a\nb"), (OTHER_WEB, "c"))]
    with pytest.raises(tutum.NonUniqueIdentifier) as raised:
        tutum.Utils.fetch_remote_service("web")
    assert str(raised.value).splitlines()[1:] == [f"  {WEB}  a?b/web on local", f"  {OTHER_WEB}  c/web on local"]


@pytest.mark.parametrize("identifier", ["", "nope", "ffff", DB])
def test_an_unknown_service_is_not_found(api: FakeApi, identifier: str) -> None:
    with pytest.raises(tutum.ObjectNotFound):
        tutum.Utils.fetch_remote_service(identifier)


@pytest.mark.parametrize("identifier", [GROW, GROW.upper(), "grow", "0224", "0"])
def test_a_handler_is_found_by_uuid_name_or_start(identifier: str) -> None:
    assert find_handler(HANDLERS, identifier).uuid == GROW


@pytest.mark.parametrize("identifier", ["", "gro", "ffff", "GROW", DEPLOY.replace("7", "8")])
def test_an_unknown_handler_is_not_found_and_its_uuid_not_repeated(identifier: str) -> None:
    with pytest.raises(tutum.ObjectNotFound) as raised:
        find_handler(HANDLERS, identifier)
    assert len(identifier) < 9 or identifier not in str(raised.value)
