"""Registry logins from the Docker client's configuration."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import docker.auth
import docker.errors

from tutumd.engines.images.reference import DOCKER_HUB, ImageReference
from tutumd.errors import EngineRefusedError

# The content of `X-Registry-Auth`; empty without a login. It must never be logged.
Auth = Mapping[str, Any]

_HELPER_LIMIT_S = 20


def registry_auth(config_dir: str | None, reference: ImageReference) -> Auth:
    """Return the current login for the reference's registry. The configuration is read at each call.

    Args:
        config_dir: Folder with `config.json`; None means the Docker client's default.

    Raises:
        EngineRefusedError: The file, or a credential helper that it names, does not work.
    """
    path = None if config_dir is None else Path(config_dir) / "config.json"
    if path is not None and not path.exists():
        return {}
    try:
        config = docker.auth.load_config(None if path is None else str(path))
        helper = config.get_credential_store(reference.registry)
        login = _run_helper(helper, reference.registry) if helper else None
        if login is None:
            login = docker.auth.AuthConfig({"auths": config.auths}).resolve_authconfig(reference.registry)
    except (docker.errors.DockerException, ValueError, OSError, AttributeError, TypeError) as error:
        # The SDK raises the last two if a part of the file has an unexpected type.
        source = path or "of the Docker client"
        raise EngineRefusedError(f"cannot read registry logins from the configuration {source}") from error
    return login or {}


def _run_helper(program: str, registry: str) -> dict[str, Any] | None:
    """Return the login from `docker-credential-PROGRAM get`; None if it has none for the registry."""
    server = docker.auth.INDEX_URL if registry == DOCKER_HUB else registry
    command = f"docker-credential-{program}"
    try:
        done = subprocess.run(
            [command, "get"], input=server.encode(), capture_output=True, timeout=_HELPER_LIMIT_S, check=False
        )
    except FileNotFoundError as error:
        raise EngineRefusedError(f"the Docker configuration names {command}, which is not installed here") from error
    except subprocess.TimeoutExpired as error:
        raise EngineRefusedError(f"{command} gave no login for {registry} within {_HELPER_LIMIT_S} s") from error
    if done.returncode != 0:
        # docker-credential-helpers credentials/error.go: this text, on stdout, means that there is no login.
        if b"credentials not found" in done.stdout + done.stderr:
            return None
        raise EngineRefusedError(f"{command} gave no login for {registry}: it exited with {done.returncode}")
    credentials = json.loads(done.stdout)
    user, secret = credentials.get("Username", ""), credentials.get("Secret", "")
    if not secret:
        return None
    if user == docker.auth.TOKEN_USERNAME:
        return {"serveraddress": server, "identitytoken": secret}
    return {"serveraddress": server, "username": user, "password": secret}
