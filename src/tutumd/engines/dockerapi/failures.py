"""Errors of the Docker SDK, translated by the caller's options: retry later, or give up."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import docker.errors
import requests.exceptions
import urllib3.exceptions
from requests import PreparedRequest

from tutumd.engines.faults import causes, explain
from tutumd.errors import EngineRefusedError, EngineUnavailableError
from tutumd.ports import Run

# Texts of a 500 that mean "not now": the engine is shutting down, or has lost its own runtime.
_TEMPORARY = (
    "daemon is shutting down",
    "context canceled",
    "context deadline exceeded",
    "containerd.sock",
    "transport is closing",
    "server closed the connection",
    "the swarm does not have a leader",
    "too few managers are online",
)
_NEEDS_LOGIN = ("no basic auth credentials", "authentication required", "incorrect username or password")


@contextmanager
def translated(attempt: str, *, reading: bool = False) -> Iterator[None]:
    """Translate the SDK's errors.

    Args:
        attempt: Phrase that follows "cannot": `create the container web`.
        reading: An engine that fails to show something has not refused it: in the middle of a swap, the caller must ask
            again and not give up.

    Raises:
        EngineUnavailableError: The connection was refused, reset or timed out, the response was 502 to 504 (if
            `reading`, 500 and above) or no JSON, or the engine is shutting down.
        EngineRefusedError: Any other response of 400 and above.
    """
    try:
        yield
    except docker.errors.APIError as error:
        is_unavailable = is_temporary(error) or (reading and error.is_server_error())
        kind = EngineUnavailableError if is_unavailable else EngineRefusedError
        raise kind(f"cannot {attempt}: {explanation(error)}") from error
    except requests.exceptions.InvalidJSONError as error:
        raise EngineUnavailableError(f"cannot {attempt}: the engine's response is not JSON") from error
    except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, OSError) as error:
        innermost = causes(error)[-1]
        cause = (
            "the engine did not respond in time" if timed_out(error) else (str(innermost) or type(innermost).__name__)
        )
        raise EngineUnavailableError(f"cannot {attempt}: {cause}", explain(error)) from error
    except docker.errors.DockerException as error:
        raise EngineRefusedError(f"cannot {attempt}: {error}") from error


@contextmanager
def changing(run: Run, attempt: str) -> Iterator[None]:
    """Check the lease before a call that changes something, and translate the call's errors.

    A first-time change counts as progress of the run.
    """
    run.check()
    with translated(attempt):
        yield
    run.advance(attempt, 1)


def is_temporary(error: docker.errors.APIError) -> bool:
    """Return True if a response means "not now" rather than "no"."""
    status = error.response.status_code if error.response is not None else None
    says_so = status == 500 and any(text in explanation(error).lower() for text in _TEMPORARY)
    return status is None or status in (502, 503, 504) or says_so


def status_of(error: BaseException) -> int | None:
    """Return the status of the engine's response that a translated error reports; None if there was none."""
    return getattr(getattr(error.__cause__, "response", None), "status_code", None)


def timed_out(error: BaseException) -> bool:
    """Return True if a connection error means that the engine was silent for too long."""
    # Not urllib3's TimeoutError: a refused connection is also a TimeoutError.
    silent = TimeoutError | urllib3.exceptions.ReadTimeoutError | requests.exceptions.ReadTimeout
    return any(isinstance(cause, silent) for cause in causes(error))


def explanation(error: docker.errors.APIError) -> str:
    """Return the engine's own message, without the URL and status that the SDK adds."""
    text = str(error.explanation or "").strip()
    response = error.response
    if response is not None and (not text or text.startswith("<")):
        # Not the engine, whose errors are JSON; or the response to HEAD, which has no text.
        request: PreparedRequest | None = response.request  # None in a response without a request
        asked = f"{request.method} {urlsplit(request.url or '').path}" if request else "a request"
        if response.status_code == 403:
            return f"a proxy before the engine refuses {asked}: allow this request in the proxy's rules"
        return f"HTTP status {response.status_code} to {asked}"
    return with_advice(text) if text else "no response"


def with_advice(text: str) -> str:
    """Return the text of an error, with a remedy if a registry requires a login.

    Registries name an error and describe it, often with the same words: `manifest unknown: manifest unknown`.
    """
    text = re.sub(r"\b([^:]+): \1$", r"\1", text)
    return (
        f"{text}; run docker login as the user that runs tutumd"
        if any(words in text for words in _NEEDS_LOGIN)
        else text
    )
