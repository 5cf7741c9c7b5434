"""The Docker test bed."""

import subprocess
import sys
from pathlib import Path

from tests.support import leftovers
from tests.support.docker_bed import DockerBed
from tests.support.images import Image


def test_pushing_leaves_no_trace_in_the_engine(clean_bed: DockerBed) -> None:
    def images() -> set[str]:
        return set(clean_bed.docker("image", "ls", "--all", "--digests").splitlines())

    before = images()
    clean_bed.push("app", Image(version="from elsewhere"))
    assert images() == before


def test_what_a_killed_run_left_is_removed_by_the_next(docker_bed: DockerBed) -> None:
    script = """
import os, sys
from tests.support.docker_bed import DockerBed
bed = DockerBed()
bed.start()
bed.docker("run", "-d", "app:v1")
print(bed.name, flush=True)
os.kill(os.getpid(), 9)
"""
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script], cwd=root, capture_output=True, text=True, timeout=300, check=False
    )
    name = killed.stdout.strip()
    assert leftovers.processes(name), killed.stderr
    assert any(name in line for line in leftovers.remove_dead_beds())
    assert leftovers.traces(name) == []
    assert leftovers.traces(docker_bed.name) != []
