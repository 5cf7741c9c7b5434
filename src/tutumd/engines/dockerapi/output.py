"""The last lines that a container wrote."""

from typing import Any

import docker
import docker.errors

from tutumd.engines.dockerapi.failures import explanation, is_passing, translated

_MOST_BYTES = 64 * 1024


def tail(client: docker.APIClient, container: str, lines: int) -> str:
    """Read the last output lines of a container, at most 64 KiB; empty where it is gone.

    A log driver that cannot be read gives a line that says so.
    """
    with translated(f"read the output of {container[:12]}"):
        try:
            output: Any = client.logs(container, stdout=True, stderr=True, tail=max(lines, 0))
        except docker.errors.NotFound:
            return ""
        except docker.errors.APIError as error:
            if is_passing(error):
                raise
            return f"(no output: {explanation(error)})"
    return bytes(output)[-_MOST_BYTES:].decode(errors="replace").rstrip("\n")
