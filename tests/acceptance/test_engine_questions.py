"""Questions to engines that nobody answers hold up nothing else."""

import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.server import LiveServer
from tests.support.waiting import wait_until

ASKERS = 120
OF_ONE_USER = 4
"""Questions of one user that wait: others could ask as many."""
ENGINE_TIMEOUT_S = 40
"""Longer than that of the product, so that a busy machine asks all before the first one is given up."""

PROGRAM = f"""
import sys
from tutumd.application import services
from tutumd.main import main
services.ENGINE_TIMEOUT_S, sys.argv[1] = {ENGINE_TIMEOUT_S}, "web"
main()
"""
WEB_ONLY = (sys.executable, "-c", PROGRAM)


@pytest.mark.nightly
def test_questions_beyond_a_few_are_refused_and_the_probes_answer(tmp_path: Path) -> None:
    server = LiveServer(tmp_path, "--engine", "local")
    server.start()
    path = f"/api/v1/service/{server.create_service('asked-for')['uuid']}/"  # it runs nothing
    server.stop()
    with LiveServer(tmp_path, command=WEB_ONLY) as server, ThreadPoolExecutor(ASKERS) as pool:
        began = time.monotonic()
        asked = [pool.submit(server.request, "GET", f"{path}logs/") for _ in range(ASKERS - 20)]
        asked += [pool.submit(server.request, "POST", f"{path}redeploy/?dry_run=1") for _ in range(20)]
        wait_until(lambda: sum(each.done() for each in asked) >= ASKERS - OF_ONE_USER, "most are refused at once")
        assert [server.request("GET", probe).status for probe in ("/healthz", "/readyz", path)] == [200] * 3
        assert time.monotonic() - began < ENGINE_TIMEOUT_S, "the probes waited for nobody"
        answers = [each.result() for each in asked]
        assert Counter(answer.status for answer in answers) == {503: ASKERS - OF_ONE_USER, 504: OF_ONE_USER}
        assert all(answer.headers["retry-after"] == "1" for answer in answers if answer.status == 503)
