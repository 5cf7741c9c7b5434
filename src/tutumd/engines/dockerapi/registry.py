"""Image registries, reached through the Docker Engine: digests of tags, and pulls."""

from functools import partial
from typing import Any

import docker.auth
import requests.exceptions

from tutumd.engines.dockerapi.connection import PULL_SILENCE_S, Client
from tutumd.engines.dockerapi.failures import timed_out, translated, with_advice
from tutumd.engines.images.auth import Auth
from tutumd.engines.images.reference import ImageReference
from tutumd.engines.rollout.timing import unfinished
from tutumd.errors import EngineRefusedError, EngineUnavailableError, LeaseLostError
from tutumd.model import Phase
from tutumd.ports.engine import Run

_DOWNLOADED = ("Download complete", "Pull complete", "Already exists")


def resolve_digest(client: Client, reference: ImageReference, auth: Auth) -> str:
    """Return the current digest of the manifest list that the registry has under a name: `sha256:…`.

    Raises:
        EngineRefusedError: The registry does not know the name, or denies access.
    """
    unpinned = reference.with_digest(None).name
    sdk: Any = client
    with translated(f"find out which image {unpinned} is now"):
        # An empty auth_config is sent as such; for None, the SDK uses the logins that it read when it was built.
        document = sdk.inspect_distribution(unpinned, auth_config=dict(auth))
    digest = document.get("Descriptor", {}).get("digest")
    if not isinstance(digest, str) or not digest:
        raise EngineRefusedError(f"the registry returned no digest of {unpinned}")
    return digest


def pull(client: Client, reference: ImageReference, auth: Auth, run: Run, platform: str = "") -> None:
    """Pull an image and read the stream to its end. It can contain an error although the status was 200.

    Args:
        platform: The wanted one; empty means the engine's own.

    Raises:
        EngineRefusedError: The registry refuses or is silent for PULL_SILENCE_S, the pull takes longer than the run
            allows, or the run is canceled.
    """
    attempt = f"pull {reference.name}"
    last = f"pulled {reference.name}"
    done: set[str] = set()
    parameters = {"fromImage": reference.repository, "tag": reference.digest or reference.tag or "latest"}
    if platform:
        parameters["platform"] = platform
    headers = {"X-Registry-Auth": docker.auth.encode_header(dict(auth)).decode()}
    request = client.follow(
        "POST", "/images/create", PULL_SILENCE_S, partial(_is_over, run), params=parameters, headers=headers
    )
    run.check()
    run.log(f"pulling {reference.name}" + (f" for {platform}" if platform else ""), Phase.PULLING)
    with run.pulling():
        try:
            with translated(attempt), request as (records, _):
                for record in records:
                    if "error" in record:
                        raise EngineRefusedError(f"cannot {attempt}: {with_advice(str(record['error']))}")
                    _require_time(run, attempt, len(done))
                    if record.get("status") in _DOWNLOADED:
                        done.add(record["id"])
                    elif "id" not in record:
                        last = str(record.get("status") or last)
        except EngineUnavailableError as error:
            _require_time(run, attempt, len(done))
            if timed_out(error) and not isinstance(error.__cause__, requests.exceptions.ConnectTimeout):
                state = f"layers downloaded: {len(done)}, and then nothing came for {PULL_SILENCE_S} s"
                raise EngineRefusedError(f"cannot {attempt}: {state}") from error
            raise
    run.log(last, Phase.CREATING)


def _is_over(run: Run) -> bool:
    try:
        return run.remaining_s() <= 0
    except LeaseLostError:
        return True


def _require_time(run: Run, attempt: str, layers: int) -> None:
    if run.remaining_s() <= 0:
        raise EngineRefusedError(f"cannot {attempt}: {unfinished(run, f'layers downloaded: {layers}')}")
