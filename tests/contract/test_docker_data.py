"""Data that a redeploy on a real Docker Engine keeps: volumes, shared volumes, and files that compose wrote."""

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.contract.docker_support import APP, inspected, opened, redeploy, service, states
from tests.support.docker_bed import DockerBed
from tests.support.images import Image
from tests.support.runs import FakeRun
from tutumd.engines.dockerapi.documents import parse_time


def modified(bed: DockerBed, container: str, path: str) -> float:
    """Return the modification time of a file in the engine's archive."""
    done = subprocess.run(
        ["docker", "cp", f"{container}:{path}", "-"], env=bed.environment, capture_output=True, timeout=30, check=True
    )
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as archive:
        return archive.getmembers()[0].mtime


def created(bed: DockerBed, container: str) -> float:
    moment = parse_time(inspected(bed, container)["Created"])
    assert moment is not None
    return moment.timestamp()


@pytest.mark.slow
def test_anonymous_volumes_at_paths_with_a_slash_at_the_end_keep_their_content(clean_bed: DockerBed) -> None:
    clean_bed.push("app", Image(version="v1", volumes=("/of-image/",)))
    mount = "type=volume,dst=/mounted/"
    clean_bed.docker("run", "-d", "--name", "web", "-v", "/plain/", "-v", "named:/named/", "--mount", mount, APP)
    places = ("/of-image", "/plain", "/mounted", "/named")
    for place in places:
        clean_bed.docker("exec", "web", "sh", "-c", f"echo mine > {place}/kept")
    clean_bed.push("app", Image(version="v2", volumes=("/of-image/",)))
    with opened(clean_bed) as engine:
        assert redeploy(engine, "name:web").success
        assert redeploy(engine, "name:web").success
    assert clean_bed.docker("exec", "web", "cat", *[f"{place}/kept" for place in places]).split() == ["mine"] * 4
    assert len(clean_bed.docker("volume", "ls", "--quiet").split()) == len(places)


@pytest.mark.slow
def test_inline_files_are_there_after_several_redeploys_and_over_files_of_the_image(
    clean_bed: DockerBed, tmp_path: Path
) -> None:
    compose = f"""
services:
  web:
    image: {APP}
    configs: [{{source: inline, target: /etc/inline.conf}}, {{source: inline, target: /version}}]
configs:
  inline: {{content: "from compose"}}
"""
    clean_bed.push("app", "v1")
    clean_bed.up(tmp_path, compose)
    clean_bed.docker("exec", "shop-web-1", "touch", "/own")
    with opened(clean_bed) as engine:
        for version in ("v2", "v1"):
            clean_bed.push("app", version)
            assert redeploy(engine, "compose:shop/web").success
        assert engine.scale(service("compose:shop/web"), 2, FakeRun()).success
    # By its time such a file is told from others at a later redeploy.
    assert abs(modified(clean_bed, "shop-web-1", "/etc/inline.conf") - created(clean_bed, "shop-web-1")) < 2
    for name in ("shop-web-1", "shop-web-2"):
        assert clean_bed.docker("exec", name, "cat", "/etc/inline.conf", "/version") == "from compose" * 2
        assert clean_bed.run("exec", name, "ls", "/own").returncode != 0


@pytest.mark.slow
def test_who_shares_the_volumes_of_a_container_that_was_replaced_can_be_replaced_too(
    clean_bed: DockerBed, tmp_path: Path
) -> None:
    compose = f"""
services:
  store:
    image: {APP}
    volumes: ["/data", "{tmp_path}:/bound:ro"]
  user:
    image: {APP}
    volumes_from: [store]
"""
    clean_bed.push("app", "v1")
    clean_bed.up(tmp_path, compose)
    clean_bed.docker("exec", "shop-store-1", "sh", "-c", "echo shared > /data/kept")
    clean_bed.push("app", "v2")
    with opened(clean_bed) as engine:
        assert redeploy(engine, "compose:shop/store").success
        assert redeploy(engine, "compose:shop/user").success
        assert redeploy(engine, "compose:shop/user").success
    assert states(clean_bed) == {"shop-store-1": "running", "shop-user-1": "running"}
    assert clean_bed.docker("exec", "shop-user-1", "cat", "/data/kept") == "shared"
    bound = next(mount for mount in inspected(clean_bed, "shop-user-1")["Mounts"] if mount["Destination"] == "/bound")
    assert (bound["Source"], bound["RW"]) == (str(tmp_path), False)


@pytest.mark.slow
@pytest.mark.parametrize(("command", "success", "volumes"), [("/serve", True, 2), ("/crash", False, 1)])
def test_volumes_that_an_image_declares_keep_their_content_and_a_failure_leaves_none(
    clean_bed: DockerBed, command: str, success: bool, volumes: int
) -> None:
    clean_bed.push("app", Image(version="a", volumes=["/state"]))
    clean_bed.docker("run", "-d", "--name", "web", APP)
    clean_bed.docker("exec", "web", "sh", "-c", "echo kept > /state/x")
    clean_bed.push("app", Image(version="b", volumes=["/state", "/more"], command=[command]))
    with opened(clean_bed) as engine:
        assert redeploy(engine, "name:web").success is success
    assert clean_bed.docker("exec", "web", "cat", "/state/x") == "kept"
    assert len(clean_bed.docker("volume", "ls", "-q").split()) == volumes
