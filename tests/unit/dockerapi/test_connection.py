"""Labels, times and failures that both Docker engines read in the same way."""

from datetime import UTC, datetime, timedelta, timezone

import pytest
import requests
import requests.exceptions

from tests.support.docker_errors import api_error
from tutumd.engines.dockerapi.connection import connect
from tutumd.engines.dockerapi.documents import parse_time
from tutumd.engines.dockerapi.failures import translated
from tutumd.engines.labels import is_true, own_labels, owner_of
from tutumd.errors import EngineRefusedError, EngineUnavailableError, SettingsError


@pytest.mark.parametrize(
    ("status", "text"),
    [(502, ""), (503, "This node is not a swarm manager"), (504, ""), (500, "the daemon is shutting down")],
)
def test_a_temporary_error_means_unavailable(status: int, text: str) -> None:
    with pytest.raises(EngineUnavailableError), translated("look"):
        raise api_error(status, text)


@pytest.mark.parametrize(("status", "text"), [(400, "bad"), (404, "no"), (409, "in use"), (500, "port is allocated")])
def test_any_other_error_is_a_refusal_with_the_engines_message(status: int, text: str) -> None:
    with pytest.raises(EngineRefusedError, match=f"cannot look: {text}"), translated("look"):
        raise api_error(status, text)


def test_a_server_error_of_a_read_is_no_refusal() -> None:
    with (
        pytest.raises(EngineUnavailableError, match="cannot look: layer does not exist"),
        translated("look", reading=True),
    ):
        raise api_error(500, "layer does not exist")
    with pytest.raises(EngineRefusedError, match="ambiguous"), translated("look", reading=True):
        raise api_error(400, "ambiguous")


def test_a_request_that_a_proxy_refuses_is_named() -> None:
    error = api_error(403, "<html><body><h1>403 Forbidden</h1></body></html>")
    assert error.response is not None
    error.response.request = requests.Request("POST", "http://socket:2375/v1.44/containers/create?name=web").prepare()
    text = "a proxy before the engine refuses POST /v1.44/containers/create: allow this request in the proxy's rules"
    with pytest.raises(EngineRefusedError, match=f"^cannot look: {text}$"), translated("look"):
        raise error


def test_a_silent_engine_is_unavailable() -> None:
    with pytest.raises(EngineUnavailableError, match="did not respond in time"), translated("look"):
        raise requests.exceptions.ReadTimeout(TimeoutError("timed out"))


@pytest.mark.parametrize(
    "url", ["tcp://", "ftp://x", "unix://x?y=1", "tcp://host:2376?cert_path=", "unix:///x?cert_path=/x"]
)
def test_an_invalid_address_is_a_settings_error(url: str) -> None:
    with pytest.raises(SettingsError):
        connect(url, None)


def test_docker_host_is_the_default_address() -> None:
    with connect(None, None, environment={"DOCKER_HOST": "tcp://127.0.0.1:9"}) as client:
        assert client.base_url == "http://127.0.0.1:9"


def test_labels_that_came_with_the_image_do_not_count() -> None:
    labels = {"tutum.owner": "eve", "tutum.service": "web", "version": "1"}
    assert own_labels(labels, {"tutum.owner": "eve", "version": "1"}) == {"tutum.service": "web", "version": "1"}
    assert own_labels(labels, {"tutum.owner": "mallory"}) == labels
    assert own_labels(None, None) == {}


def test_an_owner_needs_agreement() -> None:
    assert owner_of([{"tutum.owner": "ann"}, {}]) == ("ann", ())
    assert owner_of([{}, {"tutum.owner": ""}]) == (None, ())
    owner, warnings = owner_of([{"tutum.owner": "bob"}, {"tutum.owner": "ann"}])
    assert owner is None
    assert warnings == ("the label tutum.owner names several owners (ann, bob): the first admin owns it",)


@pytest.mark.parametrize(
    ("text", "expected"), [("true", True), ("TRUE", True), ("1", True), ("no", False), (None, False)]
)
def test_switches_in_labels(text: str | None, expected: bool) -> None:
    assert is_true(text) is expected


def test_times_of_the_engine_are_parsed() -> None:
    assert parse_time("2026-01-02T03:04:05.123456789Z") == datetime(2026, 1, 2, 3, 4, 5, 123456, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05Z") == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert parse_time("2026-01-02T03:04:05.1+02:00") == datetime(
        2026, 1, 2, 3, 4, 5, 100000, tzinfo=timezone(timedelta(hours=2))
    )
    assert parse_time("0001-01-01T00:00:00Z") is None
    assert parse_time("") is None
    assert parse_time(None) is None
