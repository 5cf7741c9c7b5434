"""From what the Docker SDK raises to what a caller can do: try later, or give up."""

from collections.abc import Iterator
from contextlib import contextmanager

import docker.errors
import requests.exceptions
import urllib3.exceptions

from tutumd.errors import EngineRefusedError, EngineUnavailableError

_AWAY = (502, 503, 504)
# Texts of a 500 that mean "not now": the engine is on its way down, or lost its own runtime.
_PASSING = (
    "daemon is shutting down",
    "context canceled",
    "context deadline exceeded",
    "containerd.sock",
    "transport is closing",
    "server closed the connection",
    "the swarm does not have a leader",
    "too few managers are online",
)


@contextmanager
def translated(wanted: str) -> Iterator[None]:
    """Turn the SDK's errors into ours.

    Args:
        wanted: What was tried, as words that follow "cannot": `create the container web`.

    Raises:
        EngineUnavailableError: connection refused, reset or timed out, 502 to 504, an engine that is going down.
        EngineRefusedError: every other answer of 400 and above.
    """
    try:
        yield
    except docker.errors.APIError as error:
        text = f"cannot {wanted}: {explanation(error)}"
        if is_passing(error):
            raise EngineUnavailableError(text) from error
        raise EngineRefusedError(text) from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        raise EngineUnavailableError(f"cannot {wanted}: {_cause(error)}") from error
    except docker.errors.DockerException as error:
        raise EngineRefusedError(f"cannot {wanted}: {error}") from error


@contextmanager
def looking(wanted: str) -> Iterator[None]:
    """Turn the SDK's errors into ours while something is only looked at.

    Raises:
        EngineUnavailableError: as `translated`, and every answer of 500 and above: an engine that cannot tell how a
            container is has not said no, and whoever is in the middle of a swap must ask again, not give up.
        EngineRefusedError: an answer of 400 to 499.
    """
    try:
        with translated(wanted):
            yield
    except EngineRefusedError as error:
        cause = error.__cause__
        if isinstance(cause, docker.errors.APIError) and cause.is_server_error():
            raise EngineUnavailableError(str(error)) from cause
        raise


def is_passing(error: docker.errors.APIError) -> bool:
    """Tell whether an answer says "not now" and not "no"."""
    status = error.response.status_code if error.response is not None else None
    if status is None or status in _AWAY:
        return True
    return status == 500 and any(text in explanation(error).lower() for text in _PASSING)


def timed_out(error: BaseException) -> bool:
    """Tell whether a connection error is that the engine was silent for too long."""
    # Not urllib3's own TimeoutError: a refused connection is one of those.
    silent = TimeoutError | urllib3.exceptions.ReadTimeoutError | requests.exceptions.ReadTimeout
    return any(isinstance(one, silent) for one in _nest(error))


def explanation(error: docker.errors.APIError) -> str:
    """Return the engine's own words, without the SDK's address and status around them."""
    if error.explanation:
        return str(error.explanation).strip()
    status = error.response.status_code if error.response is not None else "no answer"
    return f"HTTP status {status}"


def _cause(error: BaseException) -> str:
    """Return the innermost words of a nest of connection errors."""
    if timed_out(error):
        return "the engine did not answer in time"
    innermost = _nest(error)[-1]
    return f"{innermost}" or type(innermost).__name__


def _nest(error: BaseException) -> list[BaseException]:
    nest = [error]
    while len(nest) < 10 and (following := nest[-1].__cause__ or nest[-1].__context__) is not None:
        nest.append(following)
    return nest
