"""Continuous requests to a service from a container on its network."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from tests.support import poll_program
from tests.support.docker_bed import DockerBed


@dataclass(slots=True)
class Polled:
    """Results of the requests; filled in at the end of the block.

    Attributes:
        versions: Versions that responded, in the order of their first response.
        slowest_s: Duration of the slowest request, with all its retries.
    """

    requests: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


@contextmanager
def polling(bed: DockerBed, name: str, network: str, *, retries: int = 0) -> Iterator[Polled]:
    """Send requests to the service `name` while the block runs, from a container on the attachable `network`."""
    beside = bed.docker("run", "--detach", "--network", network, "app:v1", "sleep", "1000")
    pid = bed.docker("inspect", "--format", "{{.State.Pid}}", beside)
    polled = Polled()
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, poll_program.__file__, name, str(retries)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asking\n"
            yield polled
            told = json.loads(process.communicate(timeout=120)[0])
        finally:
            process.kill()
            bed.docker("rm", "--force", beside)
    for name, value in told.items():
        setattr(polled, name, value)
