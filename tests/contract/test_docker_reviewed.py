"""What a replacement on a real Docker Engine must not lose: volumes of odd paths, shared volumes, inline files."""

import io
import subprocess
import tarfile
import threading
from pathlib import Path

from tests.contract.docker_support import inspected, opened, service, states
from tests.support.docker_bed import ANONYMOUS, DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tests.support.waiting import wait_until
from tutumd.engines.docker.engine import DockerEngine
from tutumd.engines.dockerapi.times import parse_time

APP = f"{ANONYMOUS}/app"


def redeploy(engine: DockerEngine, selector: str) -> None:
    outcome = engine.redeploy(service(selector), FakeRun())
    assert outcome.success, outcome


def modified(bed: DockerBed, container: str, path: str) -> float:
    """When a file was changed, as the engine's archive says."""
    done = subprocess.run(
        ["docker", "cp", f"{container}:{path}", "-"], env=bed.environment, capture_output=True, timeout=30, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return archive.getmembers()[0].mtime


def created(bed: DockerBed, container: str) -> float:
    moment = parse_time(inspected(bed, container)["Created"])
    assert moment is not None
    return moment.timestamp()


def test_anonymous_volumes_at_paths_with_a_slash_at_the_end_keep_their_content(clean_bed: DockerBed) -> None:
    clean_bed.push("app", Image(version="v1", volumes=("/of-image/",)))
    mount = "type=volume,dst=/mounted/"
    clean_bed.docker("run", "-d", "--name", "web", "-v", "/plain/", "-v", "named:/named/", "--mount", mount, APP)
    places = ("/of-image", "/plain", "/mounted", "/named")
    for place in places:
        clean_bed.docker("exec", "web", "sh", "-c", f"echo mine > {place}/kept")
    clean_bed.push("app", Image(version="v2", volumes=("/of-image/",)))
    with opened(clean_bed) as engine:
        redeploy(engine, "name:web")
        redeploy(engine, "name:web")
    assert clean_bed.docker("exec", "web", "cat", *[f"{place}/kept" for place in places]).split() == ["mine"] * 4
    assert len(clean_bed.docker("volume", "ls", "--quiet").split()) == len(places)


def test_inline_files_are_there_after_several_redeploys_and_over_files_of_the_image(
    clean_bed: DockerBed, tmp_path: Path
) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    (project / "compose.yaml").write_text(f"""
services:
  web:
    image: {APP}
    configs: [{{source: inline, target: /etc/inline.conf}}, {{source: inline, target: /version}}]
configs:
  inline: {{content: "from compose"}}
""")
    clean_bed.push("app", "v1")
    clean_bed.compose(project, "up", "-d", "--quiet-pull")
    clean_bed.docker("exec", "shop-web-1", "touch", "/own")
    with opened(clean_bed) as engine:
        for version in ("v2", "v1"):
            clean_bed.push("app", version)
            redeploy(engine, "compose:shop/web")
        assert engine.scale(service("compose:shop/web"), 2, FakeRun()).success
    # By its time such a file is told from others at a later redeploy.
    assert abs(modified(clean_bed, "shop-web-1", "/etc/inline.conf") - created(clean_bed, "shop-web-1")) < 2
    for name in ("shop-web-1", "shop-web-2"):
        assert clean_bed.docker("exec", name, "cat", "/etc/inline.conf", "/version") == "from compose" * 2
        assert clean_bed.run("exec", name, "ls", "/own").returncode != 0


def test_who_shares_the_volumes_of_a_container_that_was_replaced_can_be_replaced_too(
    clean_bed: DockerBed, tmp_path: Path
) -> None:
    project = tmp_path / "shop"
    project.mkdir()
    (project / "compose.yaml").write_text(f"""
services:
  store:
    image: {APP}
    volumes: ["/data", "{tmp_path}:/bound:ro"]
  user:
    image: {APP}
    volumes_from: [store]
""")
    clean_bed.push("app", "v1")
    clean_bed.compose(project, "up", "-d", "--quiet-pull")
    clean_bed.docker("exec", "shop-store-1", "sh", "-c", "echo shared > /data/kept")
    clean_bed.push("app", "v2")
    with opened(clean_bed) as engine:
        redeploy(engine, "compose:shop/store")
        redeploy(engine, "compose:shop/user")
        redeploy(engine, "compose:shop/user")
    assert states(clean_bed) == {"shop-store-1": "running", "shop-user-1": "running"}
    assert clean_bed.docker("exec", "shop-user-1", "cat", "/data/kept") == "shared"
    bound = next(one for one in inspected(clean_bed, "shop-user-1")["Mounts"] if one["Destination"] == "/bound")
    assert (bound["Source"], bound["RW"]) == (str(tmp_path), False)


def test_two_services_that_fail_with_one_image_leave_its_name_as_it_was(clean_bed: DockerBed) -> None:
    clean_bed.push("app", "v1")
    for name in ("first", "second"):
        clean_bed.docker("run", "-d", "--name", name, APP)
    before = clean_bed.inspect("image", APP)["Id"]
    clean_bed.push("app", "unhealthy")
    with opened(clean_bed) as engine:
        other = threading.Thread(target=lambda: engine.redeploy(service("name:first"), FakeRun()))
        other.start()
        wait_until(lambda: clean_bed.inspect("image", APP)["Id"] != before, "the failing image is pulled")
        second = FakeRun(action_uuid="1a1b2c3d-0000-4000-8000-000000000002")
        assert not engine.redeploy(service("name:second"), second).success
        other.join()
    assert clean_bed.inspect("image", APP)["Id"] == before
    assert states(clean_bed) == {"first": "running", "second": "running"}


def test_a_local_image_that_was_pushed_under_another_name_is_not_looked_for_on_docker_hub(
    clean_bed: DockerBed,
) -> None:
    clean_bed.load({"mine:latest": Image(version="v1")})
    clean_bed.docker("tag", "mine", f"{ANONYMOUS}/elsewhere")
    clean_bed.docker("push", f"{ANONYMOUS}/elsewhere")
    clean_bed.docker("run", "-d", "--name", "web", "mine")
    with opened(clean_bed) as engine:
        redeploy(engine, "name:web")
