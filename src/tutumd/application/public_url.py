"""The public URL, with which the URLs of handlers begin, judged without a request."""

from ipaddress import ip_address
from urllib.parse import urlsplit

from tutumd.model.figures import Finding, warning

SUBJECT = "public URL"


def judge_address(url: str) -> Finding | None:
    """Return what is wrong with a public URL, without a request to it; None if nothing is wrong. An empty URL is not
    set.
    """
    parts = urlsplit(url)
    if not url:
        return warning(
            SUBJECT,
            "it is not set: senders elsewhere may not reach the URLs of handlers",
            "set TUTUMD_PUBLIC_URL to the address that senders reach",
        )
    if is_local(parts.hostname or ""):
        return warning(SUBJECT, f"{url} is an address of this machine: no sender elsewhere can use it", "name a host")
    if parts.scheme == "http":
        return warning(
            SUBJECT,
            f"{url} is plain HTTP: the network can read API keys and handler URLs",
            "put a proxy with TLS before it, and begin the URL with https://",
        )
    return None


def is_local(host: str) -> bool:
    """Return whether a host name or address means the machine itself."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_unspecified
