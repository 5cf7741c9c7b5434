"""The fault of a connection to an engine: from the client's error to the sentence and the remedy."""

import socket
import ssl

import pytest
import urllib3
from urllib3.exceptions import MaxRetryError

from tutumd.engines.faults import explain
from tutumd.web.messages.engines import FAULTS, describe_fault

POOL = urllib3.HTTPSConnectionPool("k8s.example", 6443)


def refused_certificate(code: int, message: str) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "certificate verify failed")
    error.verify_code, error.verify_message = code, message
    return error


@pytest.mark.parametrize(
    ("innermost", "code", "told"),
    [
        (refused_certificate(92, "CA cert …"), "ca-without-key-usage", "certificate of k8s.example:6443 is refused"),
        (refused_certificate(10, "certificate has expired"), "certificate-expired", "6443 has expired"),
        (
            refused_certificate(62, "not valid for 'a'."),
            "certificate-other-name",
            "for another name: not valid for 'a'",
        ),
        (refused_certificate(64, "not valid for '::1'."), "certificate-other-name", "not valid for '::1'"),
        (refused_certificate(19, "self-signed"), "certificate-refused", "k8s.example:6443 is refused: self-signed"),
        (ssl.SSLError(1, "alert"), "tls-failed", "TLS to k8s.example:6443 fails"),
        (
            PermissionError(13, "Permission denied", "/run/d.sock"),
            "socket-denied",
            "may not use the socket /run/d.sock",
        ),
        (ConnectionRefusedError(111, "refused"), "not-listening", "listens at k8s.example:6443"),
        (socket.gaierror(-2, "Name or service not known"), "host-unknown", "name in k8s.example:6443 cannot"),
        (TimeoutError("timed out"), "silent", "in time from k8s.example:6443"),
    ],
)
def test_a_fault_is_told_with_its_address_and_its_remedy(innermost: OSError, code: str, told: str) -> None:
    error = MaxRetryError(POOL, "/version")
    error.__cause__ = innermost
    (fault,) = explain(error)
    text, fix = describe_fault([fault])
    assert fault.code == code and told in text and fix
    assert "{" not in text + fix


def test_every_fault_has_a_sentence_and_a_remedy_without_a_full_stop() -> None:
    assert all(text and not text.endswith(".") for texts in FAULTS.values() for text in texts)
