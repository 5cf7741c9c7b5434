"""Output of containers on a real Docker Engine."""

from tests.contract.docker_support import opened, service
from tests.support.docker_bed import DockerBed
from tests.support.waiting import wait_until


def test_logs_of_several_containers_begin_with_their_names(clean_bed: DockerBed) -> None:
    clean_bed.docker("run", "-d", "--name", "one", "app:v1")
    clean_bed.docker("run", "-d", "--name", "a1", "-l", "tutum.service=api", "app:v1")
    clean_bed.docker("run", "-d", "-t", "--name", "b1", "-l", "tutum.service=api", "app:v2")
    clean_bed.docker("run", "-d", "--name", "mute", "--log-driver", "none", "app:v1")
    with opened(clean_bed) as engine:
        assert wait_until(lambda: engine.logs(service("name:one"), 10), "it wrote something") == "serving v1"
        wait_until(
            lambda: engine.logs(service("name:api"), 10).split("\n") == ["a1 | serving v1", "b1 | serving v2"],
            "both wrote something",
        )
        assert engine.logs(service("name:one"), 0) == ""
        assert "logging driver does not support reading" in engine.logs(service("name:mute"), 10)
        assert engine.logs(service("name:absent"), 10) == ""
