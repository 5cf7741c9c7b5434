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


def test_a_name_wins_over_the_start_of_a_uuid(api: FakeApi) -> None:
    api.services += [service(DB, "other"), service(OTHER_WEB, "db")]
    assert tutum.Utils.fetch_remote_service("db").uuid == OTHER_WEB


def test_an_ambiguous_service_names_the_uuids(api: FakeApi) -> None:
    api.services.append(service(OTHER_WEB, "web"))
    for identifier in ("web", "61a2"):
        with pytest.raises(tutum.NonUniqueIdentifier) as raised:
            tutum.Utils.fetch_remote_service(identifier)
        assert WEB in str(raised.value)
        assert OTHER_WEB in str(raised.value)


@pytest.mark.parametrize("identifier", ["", "nope", "ffff", DB])
def test_an_unknown_service_is_not_found(api: FakeApi, identifier: str) -> None:
    with pytest.raises(tutum.ObjectNotFound):
        tutum.Utils.fetch_remote_service(identifier)


@pytest.mark.parametrize("identifier", [GROW, GROW.upper(), "grow", "0224", "0"])
def test_a_handler_is_found_by_uuid_name_or_start(identifier: str) -> None:
    assert find_handler(HANDLERS, identifier).uuid == GROW


@pytest.mark.parametrize("identifier", ["", "gro", "ffff", "GROW"])
def test_an_unknown_handler_is_not_found(identifier: str) -> None:
    with pytest.raises(tutum.ObjectNotFound):
        find_handler(HANDLERS, identifier)


def test_an_ambiguous_handler_shows_eight_characters() -> None:
    twins = [*HANDLERS, tutum.Handler(FakeApi.handler(DEPLOY.replace("7", "8"), "deploy", "SCALEUP"))]
    with pytest.raises(tutum.NonUniqueIdentifier) as raised:
        find_handler(twins, "deploy")
    assert "7eaf7fff… (REDEPLOY deploy), 8eaf8fff… (SCALEUP deploy)" in str(raised.value)
    assert DEPLOY not in str(raised.value)


def test_an_unknown_handler_uuid_is_not_repeated_in_the_error() -> None:
    with pytest.raises(tutum.ObjectNotFound) as raised:
        find_handler(HANDLERS, DEPLOY.replace("7", "8"))
    assert DEPLOY.replace("7", "8") not in str(raised.value)
