"""Fetches the keys of issuers of identity tokens, each issuer in a thread of its own."""

import json
from threading import Thread
from urllib.parse import urlsplit

import structlog

from tutumd.application.admission.json_checks import is_shallow
from tutumd.errors import UnavailableError
from tutumd.notifier.outbound import Outbound, UnreachableError
from tutumd.ports import NotificationQueue

_log = structlog.get_logger(__name__)


def fetch_due(queue: NotificationQueue, outbound: Outbound) -> None:
    """Start to fetch the keys that are due. A slow issuer delays neither other issuers nor notifications.

    The queue limits the threads: it returns an issuer at most once per minute, and a fetch ends in 10 seconds.

    Raises:
        UnavailableError: The database cannot be used.
    """
    while url := queue.claim_issuer():
        Thread(target=_fetch, args=(queue, outbound, url), name="keys", daemon=True).start()


def _fetch(queue: NotificationQueue, outbound: Outbound, url: str) -> None:
    keys, error = "", ""
    try:
        keys = fetch_keys(outbound, url)
    except (UnreachableError, ValueError) as fault:
        error = str(fault)
        _log.warning("keys of an issuer were not fetched", issuer=url, error=error)
    try:
        queue.save_keys(url, keys, error)
    except UnavailableError as unavailable:  # they are due again in a minute
        _log.warning("keys of an issuer were not stored", issuer=url, error=str(unavailable))


def fetch_keys(outbound: Outbound, url: str) -> str:
    """Return the JSON Web Key Set of an issuer. Raises UnreachableError, or ValueError for an invalid URL of keys."""
    # OpenID Connect Discovery 1.0, sections 4 and 4.3: the document names the issuer that was asked.
    discovery = f"{url.rstrip('/')}/.well-known/openid-configuration"
    document = _read_object(outbound, discovery)
    if document.get("issuer") != url:
        raise UnreachableError(f"the discovery document of {url} names another issuer")
    keys_url = str(document.get("jwks_uri"))
    if urlsplit(keys_url)[:2] != urlsplit(url)[:2] or not keys_url.isascii():
        raise UnreachableError(f"the keys of {url} are not on the same host")
    keys = _read_object(outbound, keys_url)
    if not isinstance(keys.get("keys"), list):
        raise UnreachableError(f"{url} sent no JSON Web Key Set")
    return json.dumps(keys)


def _read_object(outbound: Outbound, url: str) -> dict[str, object]:
    try:
        found = json.loads(outbound.get(url))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not is_shallow(found):
        raise UnreachableError(f"{urlsplit(url).hostname} sent no JSON object")
    return found
