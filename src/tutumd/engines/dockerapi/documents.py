"""Times, health checks and digests of images in the documents of the Docker Engine API."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

from tutumd.engines.labels import ImageReference, Json, parse_reference
from tutumd.errors import EngineRefusedError

_NANO = 1_000_000_000
# Allowance for delays that are not configured, such as the start of a process.
LEEWAY_S = 30.0
# Dockerfile reference, HEALTHCHECK: the default of the interval and of the timeout, and that of the retries.
_DEFAULT_WAIT, _DEFAULT_RETRIES = 30 * _NANO, 3


def is_health_check(test: Sequence[str] | None) -> bool:
    """Return whether the `Test` of a health check tests anything. `NONE` disables the image's check."""
    return bool(test) and test != ["NONE"]


def patience_s(check: Json | None) -> float:
    """Return the seconds after which a started container is healthy or unhealthy; 0 without a check.

    Args:
        check: A HealthConfig of the Docker Engine API: times in nanoseconds; 0 or absent means the default.
    """
    if check is None or not is_health_check(check.get("Test")):
        return 0.0
    attempt = int(check.get("Interval") or _DEFAULT_WAIT) + int(check.get("Timeout") or _DEFAULT_WAIT)
    return (int(check.get("StartPeriod") or 0) + int(check.get("Retries") or _DEFAULT_RETRIES) * attempt) / _NANO


def parse_time(text: str | None) -> datetime | None:
    """Return an RFC 3339 time with up to nanoseconds; None for Go's zero time and for no text."""
    if not text or text.startswith("0001-01-01"):
        return None
    return datetime.fromisoformat(text)


def digest_names(image: Json | None) -> list[str]:
    """Return the names by digest of an image, such as `app@sha256:…`."""
    return [name for name in (image or {}).get("RepoDigests") or () if not name.startswith("<none>")]


def digests_in(image: Json | None, reference: ImageReference) -> list[str]:
    """Return the names by digest of an image in the repository of a reference."""
    found = []
    for name in digest_names(image):
        with suppress(EngineRefusedError):
            if parse_reference(name).repository == reference.repository:
                found.append(name)
    return found
