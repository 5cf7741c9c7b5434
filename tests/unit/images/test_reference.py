"""Names of images, as the engine reads them."""

import pytest

from tutumd.engines.labels import ImageReference, names_image_by_id, parse_reference
from tutumd.errors import EngineRefusedError

DIGEST = "sha256:" + "ab" * 32


@pytest.mark.parametrize(
    ("text", "registry", "path", "tag", "digest"),
    [
        ("nginx", "docker.io", "library/nginx", None, None),
        ("postgres:16", "docker.io", "library/postgres", "16", None),
        ("me/app:v1", "docker.io", "me/app", "v1", None),
        ("docker.io/nginx", "docker.io", "library/nginx", None, None),
        ("index.docker.io/me/app", "docker.io", "me/app", None, None),
        ("host:5000/app", "host:5000", "app", None, None),
        ("host:5000/app:16", "host:5000", "app", "16", None),
        ("localhost/app", "localhost", "app", None, None),
        ("127.0.0.1:5000/a/b/c:x-1", "127.0.0.1:5000", "a/b/c", "x-1", None),
        ("ghcr.io/a/b:v1@" + DIGEST, "ghcr.io", "a/b", "v1", DIGEST),
        ("nginx@" + DIGEST, "docker.io", "library/nginx", None, DIGEST),
    ],
)
def test_a_name_is_parsed(text: str, registry: str, path: str, tag: str | None, digest: str | None) -> None:
    assert parse_reference(text) == ImageReference(registry=registry, path=path, tag=tag, digest=digest)


@pytest.mark.parametrize(
    "text", ["", "UPPER", "a b", "host:5000/", "app:", "app@", "app@sha256:1", "-x", "a//b", "app:ä"]
)
def test_an_invalid_name_is_refused(text: str) -> None:
    with pytest.raises(EngineRefusedError, match="an image must be named as"):
        parse_reference(text)


@pytest.mark.parametrize("text", [DIGEST, "ab" * 32])
def test_a_bare_image_id_is_refused_with_its_reason(text: str) -> None:
    with pytest.raises(EngineRefusedError, match="given by its ID"):
        parse_reference(text)


def test_names_are_written_as_the_engine_writes_them() -> None:
    assert parse_reference("nginx").name == "nginx:latest"
    assert parse_reference("host:5000/app:16").name == "host:5000/app:16"
    assert parse_reference("host:5000/app:1").with_digest(DIGEST).name == f"host:5000/app:1@{DIGEST}"
    assert parse_reference(f"docker.io/library/nginx@{DIGEST}").name == f"nginx@{DIGEST}"
    assert parse_reference(f"nginx:1@{DIGEST}").with_digest(None).name == "nginx:1"


def test_repositories_are_compared_without_tag_and_spelling() -> None:
    assert parse_reference("nginx:1").repository == parse_reference("docker.io/library/nginx:2").repository
    assert parse_reference("host:5000/app").repository != parse_reference("host:5001/app").repository


@pytest.mark.parametrize(
    ("text", "expected"), [("abab", True), (DIGEST, True), ("abac", False), ("aba", False), ("app", False)]
)
def test_a_shortened_image_id_is_recognised(text: str, expected: bool) -> None:
    assert names_image_by_id(text, DIGEST) is expected


@pytest.mark.parametrize(
    ("name", "written"),
    [
        ("docker.io/library/nginx", "nginx:latest"),
        ("docker.io/library/team/app", "library/team/app:latest"),
        ("docker.io/a.b/app:v1", "docker.io/a.b/app:v1"),
        ("docker.io/localhost/app:v1", "docker.io/localhost/app:v1"),
    ],
)
def test_a_name_on_docker_hub_is_written_so_that_it_means_the_same(name: str, written: str) -> None:
    assert parse_reference(name).name == written
    assert parse_reference(written).repository == parse_reference(name).repository
