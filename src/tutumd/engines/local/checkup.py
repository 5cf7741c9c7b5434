"""What the engine `local` needs of its machine."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from tutumd.model.findings import Finding, ok, warning, wrong

_SHELL = Path("/bin/sh")


def check_machine(subject: str, folder: Path, unreadable: Mapping[str, str]) -> Iterator[Finding]:
    """Yield what is wrong with the shell, the folder, its records and this user."""
    if not os.access(_SHELL, os.X_OK):
        mend = "install a shell, or use the engine of the containers: --engine docker"
        yield wrong(subject, f"{_SHELL} cannot be run: no service can start", mend)
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        yield wrong(subject, f"{folder} is not writable for this user", "give it to the user that tutumd runs as")
    for service, problem in unreadable.items():
        mend = f"restore {folder / service} or remove it, which gives that service up"
        yield wrong(subject, f"the record of the service {service} cannot be used: {problem}", mend)
    if os.geteuid() == 0:
        yield warning(
            subject,
            "runs commands as root: whoever has the API key of an admin controls this machine",
            "start tutumd as another user",
        )
    yield ok(subject, f"runs services as processes of this machine, in {folder}")
