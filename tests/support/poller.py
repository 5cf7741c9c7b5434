"""A caller that asks a service all the time from a container beside it, and tells how many requests failed."""

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
    """What came of it; filled in when the block has ended.

    Attributes:
        versions: Each that was met, in the order of the first time.
        slowest_s: How long the slowest request took, with all its retries.
    """

    requests: int = 0
    slowest_s: float = 0.0
    failures: list[str] = field(default_factory=list)
    versions: list[str] = field(default_factory=list)


@contextmanager
def polling(bed: DockerBed, name: str, network: str, *, retries: int = 0) -> Iterator[Polled]:
    """Ask the service `name` while the block runs, from a container on `network`, which must be attachable."""
    beside = bed.docker("run", "--detach", "--network", network, "app:v1", "sleep", "1000")
    pid = bed.docker("inspect", "--format", "{{.State.Pid}}", beside)
    polled = Polled()
    command = ["nsenter", f"--net=/proc/{pid}/ns/net", sys.executable, poll_program.__file__, name, str(retries)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "asking\n"
            yield polled
            told = json.loads(process.communicate(timeout=30)[0])
        finally:
            process.kill()
            bed.docker("rm", "--force", beside)
    for name, value in told.items():
        setattr(polled, name, value)
