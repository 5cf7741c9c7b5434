"""Image registries, reached through the Docker Engine: digests of tags, and pulls."""

from typing import Any

from tutumd.engines.dockerapi.connection import STREAM_LIMIT_S, Client
from tutumd.engines.dockerapi.failures import timed_out, translated
from tutumd.engines.images.auth import Auth
from tutumd.engines.images.reference import ImageReference
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.ports import Run


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


def pull(client: Client, reference: ImageReference, auth: Auth, run: Run) -> None:
    """Pull an image and read the stream to its end. It can contain an error although the status was 200.

    Raises:
        EngineRefusedError: The registry refuses, there is no progress for a minute, or the run's deadline has passed.
    """
    attempt = f"pull {reference.name}"
    last = f"pulled {reference.name}"
    run.check()
    run.log(f"pulling {reference.name}")
    try:
        tag = reference.digest or reference.tag or "latest"
        with translated(attempt), client.pull_records(reference.repository, tag, auth) as records:
            for record in records:
                if "error" in record:
                    raise EngineRefusedError(f"cannot {attempt}: {record['error']}")
                if run.remaining_s() <= 0:
                    raise EngineRefusedError(f"cannot {attempt}: it did not end before the deadline")
                if "id" not in record:
                    # The other records are about one layer each.
                    last = str(record.get("status") or last)
    except EngineUnavailableError as error:
        if timed_out(error):
            raise EngineRefusedError(f"cannot {attempt}: no progress for {STREAM_LIMIT_S} s") from error
        raise
    run.log(last)
