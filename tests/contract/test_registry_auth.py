"""Registry logins from the programs that the Docker client's configuration names."""

from pathlib import Path

import pytest

from tests.unit.images.test_auth import APP, HUB, entry, write
from tutumd.engines.dockerapi.registry import registry_auth
from tutumd.errors import EngineRefusedError


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    program = folder / "docker-credential-test"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


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
