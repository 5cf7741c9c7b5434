"""Registry logins, read from the Docker client's configuration each time, and errors of registries."""

import base64
import json
from pathlib import Path

import pytest

from tutumd.engines.dockerapi.failures import with_advice
from tutumd.engines.dockerapi.registry import registry_auth
from tutumd.engines.labels import parse_reference
from tutumd.errors import EngineRefusedError

APP = parse_reference("host:5000/app")
HUB = parse_reference("nginx")


def write(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def entry(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


def test_a_login_is_found_by_its_registry_and_read_at_each_call(tmp_path: Path) -> None:
    assert registry_auth(str(tmp_path), APP) == {}
    write(tmp_path, {"auths": {"host:5000": entry("me:first")}})
    assert registry_auth(str(tmp_path), APP)["password"] == "first"
    write(tmp_path, {"auths": {"host:5000": entry("me:se:cond")}})
    assert registry_auth(str(tmp_path), APP)["password"] == "se:cond"
    assert registry_auth(str(tmp_path), HUB) == {}


def test_docker_hub_is_known_by_its_old_address(tmp_path: Path) -> None:
    write(tmp_path, {"auths": {"https://index.docker.io/v1/": entry("me:x")}})
    assert registry_auth(str(tmp_path), HUB)["username"] == "me"


@pytest.mark.parametrize(
    "text", ['{"auths": {"host:5000": {"auth": "%%%"}}}', '{"auths": {"host:5000": 1}}', '{"auths": 7}']
)
def test_a_broken_configuration_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(EngineRefusedError, match=r"cannot read registry logins .*config\.json") as it:
        registry_auth(str(tmp_path), APP)
    assert "%%%" not in str(it.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("manifest unknown: manifest unknown", "manifest unknown"),
        (
            "manifest for app:v9 not found: manifest unknown: manifest unknown",
            "manifest for app:v9 not found: manifest unknown",
        ),
        ("unknown: manifest unknown", "unknown: manifest unknown"),
        ("pull access denied: denied", "pull access denied"),
        ("no route to host", "no route to host"),
    ],
)
def test_a_description_that_repeats_the_name_of_an_error_is_left_out(text: str, said: str) -> None:
    assert with_advice(text) == said
