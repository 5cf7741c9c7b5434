"""What needs an image registry: logins of the Docker client's configuration, digests of tags, pulls."""

import json
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import docker.auth
import docker.errors
import requests.exceptions

from tutumd.engines.dockerapi.connection import STREAM_LIMIT_S, Client
from tutumd.engines.dockerapi.failures import timed_out, translated
from tutumd.engines.dockerapi.references import DOCKER_HUB, ImageReference
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run

Auth = Mapping[str, Any]
"""What `X-Registry-Auth` carries; empty where nobody is logged in. Never to be logged."""

_HELPER_LIMIT_S = 20


def registry_auth(config_dir: str | None, reference: ImageReference) -> Auth:
    """Read the login for the reference's registry, afresh: a login made a second ago counts.

    Args:
        config_dir: Folder with `config.json`; None means where the Docker client looks for it.

    Raises:
        EngineRefusedError: the file or a credential helper that it names does not work.
    """
    path = None if config_dir is None else Path(config_dir) / "config.json"
    if path is not None and not path.exists():
        return {}
    try:
        config = docker.auth.load_config(None if path is None else str(path))
        helper = config.get_credential_store(reference.registry)
        found = _ask_helper(helper, reference.registry) if helper else None
        if found is None:
            found = docker.auth.AuthConfig({"auths": config.auths}).resolve_authconfig(reference.registry)
    except (docker.errors.DockerException, ValueError, OSError, AttributeError, TypeError) as error:
        # The last two are what the SDK raises where a part of the file is of another type than it expects.
        where = path or "of the Docker client"
        raise EngineRefusedError(f"cannot read registry logins from the configuration {where}") from error
    return found or {}


def resolve_digest(client: Client, reference: ImageReference, auth: Auth) -> str:
    """Ask the registry, through the engine, which digest the reference has now: `sha256:…` of the manifest list.

    Raises:
        EngineRefusedError: the registry does not know it, or does not let us see it; always on Podman, which has no
            such call.
    """
    unpinned = reference.with_digest(None).name
    if client.is_podman:
        raise EngineRefusedError(f"Podman cannot ask a registry which image {unpinned} is now: only a pull tells")
    sdk: Any = client
    with translated(f"find out which image {unpinned} is now"):
        # An empty auth_config is sent as such; None would make the SDK use what it read when it was built.
        answer = sdk.inspect_distribution(unpinned, auth_config=dict(auth))
    digest = answer.get("Descriptor", {}).get("digest")
    if not isinstance(digest, str) or not digest:
        raise EngineRefusedError(f"the registry told no digest of {unpinned}")
    return digest


def pull(client: Client, reference: ImageReference, auth: Auth, run: Run) -> None:
    """Pull an image to the end of the stream. An error record in it is an error, though the status was 200.

    Raises:
        EngineRefusedError: the registry's reason, or no progress for a minute, or the run's deadline.
    """
    wanted = f"pull {reference.name}"
    run.check()
    run.log(f"pulling {reference.name}")
    with translated(wanted):
        try:
            with client.pull_records(
                reference.repository, reference.digest or reference.tag or "latest", auth
            ) as records:
                last = _drain(records, wanted, run)
        except requests.exceptions.RequestException as error:
            if timed_out(error):
                raise EngineRefusedError(f"cannot {wanted}: no progress for {STREAM_LIMIT_S} s") from error
            raise
    run.log(last or f"pulled {reference.name}")


def _drain(records: Iterator[Json], wanted: str, run: Run) -> str:
    """Read all records and return the last line that is not about a layer."""
    last = ""
    for record in records:
        if "error" in record:
            raise EngineRefusedError(f"cannot {wanted}: {record['error']}")
        if run.remaining_s() <= 0:
            raise EngineRefusedError(f"cannot {wanted}: it did not end before the deadline")
        if "id" not in record:
            last = str(record.get("status", last))
    return last


def _ask_helper(program: str, registry: str) -> dict[str, Any] | None:
    """Run `docker-credential-PROGRAM get`; None where it has no login for the registry."""
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
    answer = json.loads(done.stdout)
    user, secret = answer.get("Username", ""), answer.get("Secret", "")
    if not secret:
        return None
    if user == docker.auth.TOKEN_USERNAME:
        return {"serveraddress": server, "identitytoken": secret}
    return {"serveraddress": server, "username": user, "password": secret}
