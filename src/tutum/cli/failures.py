"""Errors of the API in one line each: what went wrong, and what to do about it."""

from tutum.client import current_client
from tutum.errors import TutumApiError, TutumAuthError, TutumConnectionError
from tutum.paths import origin_of


def explain(error: TutumApiError) -> str:
    """Return the line to print for `error`."""
    if isinstance(error, TutumAuthError):
        host = origin_of(current_client().base_url)
        return f'not authorized at {host}: run "tutum login", or set TUTUM_USER and TUTUM_APIKEY'
    if isinstance(error, TutumConnectionError):
        return (
            f"{error.message}. Is the server running? "
            'Choose another one with TUTUM_REST_HOST=http://HOST:PORT or "tutum login --host"'
        )
    text = " ".join(error.message.split())
    return f"{text} (HTTP {error.status})" if error.status else text
