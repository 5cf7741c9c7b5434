"""The state of an engine, for people, and the remedy for a fault of its connection."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from tutumd.application.health import has_worker
from tutumd.errors import Reason
from tutumd.model import EngineInfo

FAULTS: Mapping[str, tuple[str, str]] = {
    "ca-without-key-usage": (
        "The certificate of {0} is refused: the CA certificate has no keyUsage extension, which Python 3.13 requires",
        "Sign the CA certificate again with the same key and keyUsage=critical,keyCertSign,cRLSign, and give it to"
        " tutumd in the kubeconfig or as ca.pem; see docs/how-to/kubernetes.md",
    ),
    "certificate-expired": (
        "The certificate of {0} has expired",
        "Renew the certificate of the engine, or of its CA. If both are valid, correct the clock of this machine",
    ),
    "certificate-other-name": (
        "The certificate of {0} is for another name: {1}",
        "Use a name of the certificate as the engine's address, or issue the certificate for this name"
        " (subjectAltName)",
    ),
    "certificate-refused": (
        "The certificate of {0} is refused: {1}",
        "Give tutumd the certificate of the engine's CA: certificate-authority in the kubeconfig, or ca.pem in the"
        " folder of ?cert_path=",
    ),
    "tls-failed": (
        "TLS to {0} fails: {1}",
        "Check the port, and whether the engine accepts the client certificate: cert.pem and key.pem, or the user in"
        " the kubeconfig",
    ),
    "socket-denied": (
        "The user of tutumd may not use the socket {0}",
        "Add the user to the group of the socket, and start tutumd in a new login: sudo usermod -aG docker USER. In"
        " Compose, set group_add to the number that stat -c %g {0} prints",
    ),
    "socket-absent": (
        "The socket {0} does not exist",
        "Start the engine, mount its socket into this container, or set DOCKER_HOST or --engine to its address",
    ),
    "not-listening": (
        "No engine listens at {0}: the connection was refused",
        "Start the engine, or correct the address in DOCKER_HOST, --engine or the kubeconfig",
    ),
    "host-unknown": (
        "The host name in {0} cannot be resolved",
        "Correct the host name in DOCKER_HOST, --engine or the kubeconfig, or make a DNS record for it",
    ),
    "silent": (
        "No response in time from {0}",
        "Check whether the engine hangs, and whether a firewall drops packets to it",
    ),
    "request-refused": (
        "A proxy or plugin before the engine refuses requests: {0}",
        "Allow them in its rules; haproxy.cfg in deploy/compose or deploy/swarm has all rules",
    ),
    "credentials-refused": (
        "The cluster refuses the credentials: {0}",
        "Renew the user's token or certificate in the kubeconfig, and try it: kubectl cluster-info",
    ),
    "credentials-unreadable": (
        "The credentials in {0} cannot be read: {1}",
        "Let the user of tutumd read the file and the files that it names, and try it: kubectl cluster-info",
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineHealth:
    """The state of an engine, for people.

    Attributes:
        state: `healthy`; `warning`: some of its services cannot be read, or another installation also changes them;
            `away` or `no worker`: its actions wait.
        why: What happened, in sentences; empty if it is healthy.
        fix: The remedy, in sentences; empty if there is none.
    """

    info: EngineInfo
    state: Literal["healthy", "warning", "away", "no worker"]
    why: str = ""
    fix: str = ""


def judge_engine(info: EngineInfo, now: datetime) -> EngineHealth:
    """Return the state of an engine, as reported by its worker."""
    if not has_worker(info, now):
        return EngineHealth(
            info=info,
            state="no worker",
            why="No worker serves this engine. Actions wait until a worker serves it.",
            fix="Start tutumd serve, or tutumd worker with this engine; if it runs, read its log.",
        )
    if info.away:
        what, fix = describe_fault(info.faults)
        why = (
            f"{what}. Actions wait until the engine can be reached."
            if what
            else f"The engine does not respond. Actions wait until it responds: {info.error}"
        )
        return EngineHealth(info=info, state="away", why=why, fix=f"{fix}.")
    why = info.error or info.note
    return EngineHealth(info=info, state="warning" if why else "healthy", why=why)


def describe_fault(faults: Sequence[Reason]) -> tuple[str, str]:
    """Return what happened to a connection, empty if that is unknown, and the remedy."""
    if not faults:
        return (
            "",
            "Check the engine's address (DOCKER_HOST, --engine or the kubeconfig) with docker version or kubectl"
            " version",
        )
    (fault,) = faults
    what, fix = FAULTS[fault.code]
    return what.format(*fault.values), fix.format(*fault.values)
