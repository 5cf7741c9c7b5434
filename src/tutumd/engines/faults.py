"""Faults of a connection to an engine, from the errors of its client, as reasons: a code and the address."""

import socket
import ssl
from collections.abc import Iterator

import urllib3.exceptions

from tutumd.errors import Reason

_MAX_CAUSES = 10
# Codes of OpenSSL (x509_vfy.h, X509_V_ERR_…).
_CERTIFICATES = {
    10: "certificate-expired",
    62: "certificate-other-name",
    64: "certificate-other-name",  # an IP address
    92: "ca-without-key-usage",  # only with VERIFY_X509_STRICT, the default since Python 3.13
}
_SILENT = (TimeoutError, urllib3.exceptions.TimeoutError)


def causes(error: BaseException) -> list[BaseException]:
    """Return an error and the errors that caused it, the innermost last."""
    found = [error]
    while len(found) < _MAX_CAUSES and (cause := found[-1].__cause__ or found[-1].__context__) is not None:
        found.append(cause)
    return found


def explain(error: BaseException) -> tuple[Reason, ...]:
    """Return the fault that an error of a connection shows; empty if it shows none that has a remedy of its own."""
    return tuple(_explain(causes(error)))[:1]


def _explain(errors: list[BaseException]) -> Iterator[Reason]:
    pools = (each.pool for each in errors if isinstance(each, urllib3.exceptions.PoolError))
    address = next((f"{pool.host}:{pool.port}" for pool in pools if pool.port), "the engine")
    for each in reversed(errors):
        if isinstance(each, ssl.SSLCertVerificationError):
            yield Reason(
                _CERTIFICATES.get(each.verify_code, "certificate-refused"), (address, each.verify_message.rstrip("."))
            )
        elif isinstance(each, ssl.SSLError):
            yield Reason("tls-failed", (address, str(getattr(each, "reason", None) or each)))
        elif isinstance(each, PermissionError) and each.filename:
            yield Reason("socket-denied", (str(each.filename),))
        elif isinstance(each, FileNotFoundError) and each.filename:
            yield Reason("socket-absent", (str(each.filename),))
        elif isinstance(each, ConnectionRefusedError):
            yield Reason("not-listening", (str(each.filename or address),))
        elif isinstance(each, socket.gaierror):
            yield Reason("host-unknown", (address,))
        elif isinstance(each, _SILENT):
            yield Reason("silent", (address,))
