from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.unit.local.values import SERVICE_UUID, container, record
from tutumd.engines.local.data_folder import DataFolder
from tutumd.engines.local.processes import Processes, SpawnError, build_environment
from tutumd.engines.local.procfs import Stat, parse_stat
from tutumd.model import Definition

PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SERVER = {"PATH": "/bin", "HOME": "/root", "LANG": "de", "TERM": "x", "TUTUMD_DATABASE": "secret", "OTHER": "1"}
OURS = {
    "TUTUM_CONTAINER_ID": "old-1",
    "TUTUM_CONTAINER_NAME": "web-1",
    "TUTUM_SERVICE_UUID": SERVICE_UUID,
    "TUTUM_SERVICE_NAME": "web",
}
TAIL = " 1 23 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0"


@pytest.mark.parametrize(
    ("server", "variables", "built"),
    [
        pytest.param(SERVER, {}, {"PATH": "/bin", "HOME": "/root", "LANG": "de"}, id="three come from the server"),
        pytest.param({}, {}, {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8"}, id="those that it lacks have defaults"),
        pytest.param(
            SERVER,
            {"PATH": "/opt", "HOME": None, "A": "1", "B": None, "TUTUM_CONTAINER_ID": "x"},
            {"PATH": "/opt", "HOME": "/root", "LANG": "de", "A": "1"},
            id="the service overrides all but ours",
        ),
    ],
)
def test_a_process_gets_a_clean_environment(
    server: Mapping[str, str], variables: Mapping[str, str | None], built: Mapping[str, str]
) -> None:
    assert build_environment(server, variables, record(1), container(1)) == {**built, **OURS}


def test_an_output_that_cannot_be_written_is_the_reason(tmp_path: Path) -> None:
    processes = Processes(DataFolder(tmp_path), "boot", {})
    with pytest.raises(SpawnError, match="its output cannot be written: No such file"):
        processes.launch(record(1), Definition(command="true", working_dir=str(tmp_path)), {}, container(1))


@pytest.mark.parametrize(("head", "state"), [("23 (sleep)", "S"), ("23 (a) R 7 (b)", "Z")])
def test_a_stat_line_is_read_by_its_fields_whatever_the_name_of_the_program(head: str, state: str) -> None:
    assert parse_stat(f"{head} {state}{TAIL}") == Stat(pid=23, state=state, parent=1, session=42, start_ticks=98765)


def test_a_zombie_is_not_alive() -> None:
    assert [parse_stat(f"1 (x) {state}{TAIL}").is_alive for state in "RSDTZX"] == [True] * 4 + [False] * 2
