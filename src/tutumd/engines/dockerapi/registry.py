"""Image registries, reached through the Docker Engine: logins, manifests and pulls."""

import json
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import docker.auth
import docker.errors
import requests.exceptions

from tutumd.engines.dockerapi.connection import PULL_SILENCE_S, Client
from tutumd.engines.dockerapi.documents import digests_in
from tutumd.engines.dockerapi.failures import status_of, timed_out, translated, with_advice
from tutumd.engines.labels import DOCKER_HUB, ImageReference, pull_code
from tutumd.engines.rollout import unfinished
from tutumd.errors import EngineRefusedError, EngineUnavailableError, LeaseLostError, ReasonCode, code_of
from tutumd.model import Availability, Phase, WantedImage
from tutumd.ports import Run

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
        stored = _run_helper(helper, reference.registry) if helper else None
        login = stored or docker.auth.AuthConfig({"auths": config.auths}).resolve_authconfig(reference.registry)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """The registry's entry for a name: a digest `sha256:…`, and pairs of system and architecture."""

    digest: str
    platforms: tuple[tuple[str, str], ...]


# Docker Hub counts each look at a manifest as a pull, and a list of images has up to 21. A digest always names the same
# manifest. It may be deleted, which the next pull notices.
_of_docker_hub: dict[str, Manifest] = {}
_MAX_KNOWN = 1_000


def inspect_manifest(client: Client, reference: ImageReference, auth: Auth, attempt: str) -> Manifest:
    """Return the manifest, or the list of manifests, that the registry has under a name now.

    A digest that Docker Hub had before is not requested again.

    Args:
        attempt: Phrase that follows "cannot".

    Raises:
        EngineRefusedError: The registry does not know the name, denies access, or cannot be reached.
    """
    if known := _of_docker_hub.get(reference.name):
        return known
    sdk: Any = client
    with _of_image(), translated(attempt):
        # An empty auth_config is sent as such; for None, the SDK uses the logins that it read when it was built.
        document = sdk.inspect_distribution(reference.name, auth_config=dict(auth))
    # Docker Engine API DistributionInspect. Attestations are listed as separate platforms.
    listed = {(each.get("os") or "", each.get("architecture") or "") for each in document.get("Platforms") or ()}
    manifest = Manifest(
        digest=str(document["Descriptor"]["digest"]),
        platforms=tuple(sorted(listed - {("unknown", "unknown"), ("", "")})),
    )
    if reference.registry == DOCKER_HUB and reference.digest:
        if len(_of_docker_hub) >= _MAX_KNOWN:
            _of_docker_hub.clear()
        _of_docker_hub[reference.name] = manifest
    return manifest


# The server waits a little longer.
_LOOKUP_LIMIT_S = 2.0


def find_available(
    images: Sequence[WantedImage], find: Callable[[WantedImage], Availability]
) -> dict[int, Availability]:
    """Return where images are, by number. Images that `find` does not find in time, or with an error, are unknown."""
    pool = ThreadPoolExecutor(8)
    futures = {pool.submit(find, each): each.number for each in images}
    found = dict.fromkeys(futures.values(), Availability.UNKNOWN)
    for future in wait(futures, _LOOKUP_LIMIT_S).done:
        with suppress(EngineRefusedError, EngineUnavailableError):
            found[futures[future]] = future.result()
    pool.shutdown(wait=False, cancel_futures=True)
    return found


def find_in_registry(inspect: Callable[[], object]) -> Availability:
    """Return whether the registry has an image: no, only if the registry says so.

    Args:
        inspect: Raises the errors of `inspect_manifest`.
    """
    try:
        inspect()
    except EngineRefusedError as error:
        # Docker answers 404 also if the registry denies access.
        is_gone = status_of(error) == 404 and "denied" not in str(error)
        return Availability.NO if is_gone else Availability.UNKNOWN
    return Availability.REGISTRY


def has_digest(image: Mapping[str, Any] | None, pinned: ImageReference) -> bool:
    """Return whether an image has the digest of a reference in its repository."""
    return any(name.endswith(f"@{pinned.digest}") for name in digests_in(image, pinned))


def pull(client: Client, reference: ImageReference, auth: Auth, run: Run, platform: str = "") -> None:
    """Pull an image and read the stream to its end. The stream can contain an error although the status was 200.

    Args:
        platform: The requested platform; empty means the engine's own.

    Raises:
        EngineRefusedError: The registry refuses or is silent for PULL_SILENCE_S, the pull takes longer than the run
            allows, or the run is canceled.
    """
    attempt = f"pull {reference.name}"
    last = f"pulled {reference.name}"
    done: set[str] = set()
    tag = reference.digest or reference.tag or "latest"
    # A parameter that is None is not sent.
    parameters = {"fromImage": reference.repository, "tag": tag, "platform": platform or None}
    request = client.follow(
        "POST",
        "/images/create",
        PULL_SILENCE_S,
        partial(_is_over, run),
        params=parameters,
        headers={"X-Registry-Auth": docker.auth.encode_header(dict(auth)).decode()},
    )
    run.check()
    run.log(f"pulling {reference.name}" + (f" for {platform}" if platform else ""), Phase.PULLING)
    with run.pulling():
        try:
            with _of_image(), translated(attempt), request as (records, _):
                for record in records:
                    if "error" in record:
                        raise EngineRefusedError(f"cannot {attempt}: {with_advice(str(record['error']))}")
                    _require_time(run, attempt, len(done))
                    if record.get("status") in ("Download complete", "Pull complete", "Already exists"):
                        done.add(record["id"])
                    elif "id" not in record:
                        last = str(record.get("status") or last)
        except EngineUnavailableError as error:
            _require_time(run, attempt, len(done))
            if timed_out(error) and not isinstance(error.__cause__, requests.exceptions.ConnectTimeout):
                state = f"layers downloaded: {len(done)}, and then nothing came for {PULL_SILENCE_S} s"
                raise EngineRefusedError(f"cannot {attempt}: {state}", ReasonCode.PULL_FAILED) from error
            raise
    run.log(last, Phase.CREATING)


@contextmanager
def _of_image() -> Iterator[None]:
    """Give refusals of the block the code of an image that is missing or cannot be pulled."""
    try:
        yield
    except EngineRefusedError as error:
        if error.code == ReasonCode.REFUSED:
            error.code = pull_code(str(error))
        raise


def _is_over(run: Run) -> bool:
    try:
        return run.remaining_s() <= 0
    except LeaseLostError:
        return True


def _require_time(run: Run, attempt: str, layers: int) -> None:
    if run.remaining_s() <= 0:
        late = unfinished(run, f"layers downloaded: {layers}")
        raise EngineRefusedError(f"cannot {attempt}: {late}", code_of(late))
