"""Image registries, reached through the Docker Engine: digests of tags, pulls."""

from collections.abc import Iterator
from typing import Any

import requests.exceptions

from tutumd.engines.dockerapi.connection import STREAM_LIMIT_S, Client
from tutumd.engines.dockerapi.failures import timed_out, translated
from tutumd.engines.images.auth import Auth
from tutumd.engines.images.reference import ImageReference
from tutumd.engines.labels import Json
from tutumd.errors import EngineRefusedError
from tutumd.ports import Run


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
