"""An engine that was never reached: the API, the command line and the overview name it, the fault and the remedy."""

from pathlib import Path

from tests.acceptance.console import run_tutum
from tests.support.server import LiveServer
from tests.support.waiting import wait_until


def test_an_engine_that_was_never_reached_is_named_with_the_fault_and_the_remedy(tmp_path: Path) -> None:
    with LiveServer(tmp_path, "--engine", f"prod=docker:unix://{tmp_path}/none.sock") as server:

        def engine() -> dict[str, str]:
            return dict(server.request("GET", "/api/v1/engine/").json["objects"][0])

        wait_until(lambda: engine()["state"] == "away", "the engine is told to be away")
        shown = engine()
        assert (shown["name"], shown["kind"]) == ("prod", "docker")
        assert f"The socket {tmp_path}/none.sock does not exist." in shown["reason"]
        assert shown["remedy"].startswith("Start the engine, mount its socket")
        told = f"Engine prod: {shown['reason']} {shown['remedy']}\n"
        environment = server.client_environment
        listed = run_tutum(environment, "service", "ps")
        assert (listed.returncode, listed.stdout, listed.stderr) == (0, "", f"No service is known.\n{told}")
        created = run_tutum(environment, "webhook-handler", "create", "web")
        assert created.returncode == 3 and created.stderr.endswith(f"engines can be reached:\n  {told}"), created
