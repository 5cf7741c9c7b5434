"""Exits of processes are learned from the kernel, and from /proc where that is not possible."""

import gc
import os
import resource
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.waiting import wait_until
from tutumd.engines.local.exit_watch import ExitWatch
from tutumd.engines.local.procfs import Identity, read_environment, read_stat


@dataclass(slots=True)
class Proc:
    """Reads of /proc, counted."""

    reads: list[int] = field(default_factory=list)

    def is_running(self, identity: Identity) -> bool:
        self.reads.append(identity.pid)
        stat = read_stat(identity.pid)
        return stat is not None and stat.is_alive and stat.start_ticks == identity.start_ticks


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "1000"]) as sleeping:
        yield sleeping
        sleeping.kill()


@pytest.fixture
def identity(process: subprocess.Popen[bytes]) -> Identity:
    stat = read_stat(process.pid)
    assert stat is not None
    return Identity(pid=process.pid, start_ticks=stat.start_ticks, boot_id="")


def test_an_exit_ends_the_wait_at_once(process: subprocess.Popen[bytes], identity: Identity) -> None:
    with closing(ExitWatch(Proc().is_running)) as exits:
        exits.watch({identity})
        process.kill()
        began = time.monotonic()
        exits.wait(60)
        assert time.monotonic() - began < 30
        assert not exits.is_running(identity)


def test_a_process_that_runs_is_read_from_proc_only_once(identity: Identity) -> None:
    proc = Proc()
    with closing(ExitWatch(proc.is_running)) as exits:
        for _ in range(5):
            exits.watch({identity})
            exits.wait(0)
            assert exits.is_running(identity)
    assert proc.reads == [identity.pid]


def test_another_process_with_the_same_pid_is_not_watched(identity: Identity) -> None:
    earlier = identity._replace(start_ticks=identity.start_ticks - 1)
    with closing(ExitWatch(Proc().is_running)) as exits:
        exits.watch({earlier})
        assert not exits.is_running(earlier)


@pytest.mark.parametrize("max_files", [3, 8])
def test_a_process_is_read_from_proc_when_no_descriptor_is_left(identity: Identity, max_files: int) -> None:
    proc = Proc()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with closing(ExitWatch(proc.is_running)) as exits:
        taken = [os.open("/dev/null", os.O_RDONLY) for _ in range(8)]
        resource.setrlimit(resource.RLIMIT_NOFILE, (max_files, hard))
        try:
            exits.watch({identity})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
            for descriptor in taken:
                os.close(descriptor)
        assert exits.is_running(identity)
        assert exits.is_running(identity)
    assert proc.reads == [identity.pid] * 2


def test_the_upper_half_of_the_descriptors_stays_free(identity: Identity) -> None:
    proc = Proc()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    lowest_free = os.dup(0)
    os.close(lowest_free)
    with closing(ExitWatch(proc.is_running)) as exits:
        resource.setrlimit(resource.RLIMIT_NOFILE, (2 * lowest_free, hard))
        try:
            exits.watch({identity})
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert exits.is_running(identity)
        assert exits.is_running(identity)
    assert proc.reads == [identity.pid] * 2


def test_a_process_keeps_its_environment_while_it_replaces_its_program(tmp_path: Path) -> None:
    program = tmp_path / "again"
    program.write_text('exec sh "$0"')
    with subprocess.Popen(["sh", str(program)], env={"MARK": "1", "PATH": os.defpath}) as restless:
        try:
            found = [b"MARK=1" in read_environment(restless.pid) for _ in range(10_000)]
        finally:
            restless.kill()
    assert found.count(False) == 0


def test_a_process_without_an_environment_has_none() -> None:
    with subprocess.Popen(["sleep", "1000"], env={}) as bare:
        assert read_environment(bare.pid) == frozenset()
        bare.kill()
        wait_until(lambda: read_environment(bare.pid) == frozenset(), "nor has it as a zombie")


def test_no_descriptor_is_left_open(identity: Identity) -> None:
    gc.collect()  # what an earlier test forgot to close
    before = os.listdir("/proc/self/fd")
    with closing(ExitWatch(Proc().is_running)) as exits:
        exits.watch({identity})
        assert len(os.listdir("/proc/self/fd")) == len(before) + 1
        exits.watch(frozenset())
        assert os.listdir("/proc/self/fd") == before
        exits.watch({identity})
    assert os.listdir("/proc/self/fd") == before
