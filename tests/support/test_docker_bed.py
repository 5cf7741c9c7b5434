"""The Docker test bed."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import leftovers
from tests.support.docker_bed import DockerBed
from tests.support.waiting import wait_until


@pytest.mark.slow
def test_what_a_killed_run_left_is_removed_by_the_next(docker_bed: DockerBed) -> None:
    script = """
import signal
from tests.support.docker_bed import DockerBed
bed = DockerBed()
bed.start()
bed.docker("run", "-d", "app:v1")
print(bed.name, flush=True)
signal.pause()
"""
    root = Path(__file__).parents[2]
    with subprocess.Popen([sys.executable, "-c", script], cwd=root, stdout=subprocess.PIPE, text=True) as killed:
        try:
            assert killed.stdout is not None
            name = killed.stdout.readline().strip()
            assert name
            assert leftovers.processes(name)
        finally:
            killed.kill()
    leftovers.remove_dead_beds()
    wait_until(lambda: not leftovers.traces(name), "all is gone")  # another worker may be removing it as well
    assert leftovers.traces(docker_bed.name) != []
