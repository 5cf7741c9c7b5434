"""Registry logins, read from the Docker client's configuration each time."""

import base64
import json
from pathlib import Path

import pytest

from tutumd.engines.images.auth import registry_auth
from tutumd.engines.images.reference import parse_reference
from tutumd.errors import EngineRefusedError

APP = parse_reference("host:5000/app")
HUB = parse_reference("nginx")


def write(folder: Path, config: object) -> None:
    (folder / "config.json").write_text(json.dumps(config))


def entry(login: str) -> dict[str, str]:
    return {"auth": base64.b64encode(login.encode()).decode()}


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


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


def test_a_credential_helper_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, 'read server; echo "{\\"Username\\": \\"of $server\\", \\"Secret\\": \\"s\\"}"')
    write(tmp_path, {"credHelpers": {"host:5000": "test"}})
    assert registry_auth(str(tmp_path), APP) == {
        "serveraddress": "host:5000",
        "username": "of host:5000",
        "password": "s",
    }
    assert registry_auth(str(tmp_path), HUB) == {}


def test_a_token_of_a_helper_is_sent_as_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, """echo '{"Username": "<token>", "Secret": "t"}'""")
    write(tmp_path, {"credsStore": "test"})
    assert registry_auth(str(tmp_path), APP) == {"serveraddress": "host:5000", "identitytoken": "t"}


def test_the_file_is_used_if_a_helper_has_no_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    write(tmp_path, {"credsStore": "test", "auths": {"host:5000": entry("me:file")}})
    assert registry_auth(str(tmp_path), APP)["password"] == "file"


def test_a_helper_that_fails_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    helper(tmp_path, monkeypatch, "exit 7")
    write(tmp_path, {"credsStore": "test"})
    with pytest.raises(EngineRefusedError, match="test gave no login for host:5000: it exited with 7"):
        registry_auth(str(tmp_path), APP)
    write(tmp_path, {"credsStore": "absent"})
    with pytest.raises(EngineRefusedError, match="docker-credential-absent, which is not installed"):
        registry_auth(str(tmp_path), APP)


@pytest.mark.parametrize(
    "text", ['{"auths": {"host:5000": {"auth": "%%%"}}}', '{"auths": {"host:5000": 1}}', '{"auths": 7}']
)
def test_a_broken_configuration_is_named_without_its_content(tmp_path: Path, text: str) -> None:
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(EngineRefusedError, match=r"cannot read registry logins .*config\.json") as it:
        registry_auth(str(tmp_path), APP)
    assert "%%%" not in str(it.value)
