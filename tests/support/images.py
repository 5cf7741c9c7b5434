"""Container images made without a build or a network: busybox, an init script that obeys SIGTERM, and a version."""

import gzip
import hashlib
import io
import json
import os
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

BUSYBOX = Path("/usr/bin/busybox") if Path("/usr/bin/busybox").exists() else Path("/bin/busybox")

# busybox as PID 1 ignores signals for which it set no handler, so `docker stop` would need its full grace period.
SERVE = """#!/bin/sh
trap 'echo "stopped $VERSION"; exit 0' TERM INT
echo "$VERSION" > /www/index.html
httpd -p "${PORT:-8080}" -h /www || echo "port ${PORT:-8080} is taken"
echo "serving $VERSION"
while :; do sleep 3600 & wait $!; done
"""
CRASH = """#!/bin/sh
echo "starting $VERSION"
echo "fatal: $VERSION cannot start" >&2
exit 3
"""
APPLETS = ["sh", "cat", "echo", "env", "hostname", "httpd", "ls", "mkdir", "ping", "sleep", "touch", "true", "false",
           "wget"]  # fmt: skip
_WRITABLE = ("tmp", "www")
_EPOCH = "2026-01-01T00:00:00Z"


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """Contents of an image. By default it serves its version over HTTP on port 8080."""

    version: str
    command: Sequence[str] = ("/serve",)
    entrypoint: Sequence[str] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, str] = field(default_factory=dict)
    volumes: Sequence[str] = ()
    exposed_ports: Sequence[str] = ()
    healthcheck: Sequence[str] = ()
    """Docker's form: `("CMD", "/bin/true")`; checked each 200 ms, unhealthy after two failures."""
    working_dir: str = ""
    user: str = ""
    stop_signal: str = ""
    architecture: str = ""
    """As registries write it; empty means this machine's."""


VERSIONS = {
    "v1": Image(version="v1", labels={"version": "v1"}),
    "v2": Image(version="v2", labels={"version": "v2"}, env={"NEW_IN_V2": "yes"}),
    "v3-broken": Image(version="v3-broken", command=("/crash",), labels={"version": "v3-broken"}),
    "unhealthy": Image(version="unhealthy", healthcheck=("CMD", "/bin/false"), labels={"version": "unhealthy"}),
    "healthy": Image(version="healthy", healthcheck=("CMD", "/bin/true"), labels={"version": "healthy"}),
}


def archive(images: Mapping[str, Image]) -> bytes:
    """Return a tar that `docker load` takes, holding each image under its reference (`app:v1`)."""
    base = _base_layer()
    out = io.BytesIO()
    manifest = []
    with tarfile.open(fileobj=out, mode="w") as tar:
        _add(tar, "base/layer.tar", base)
        for number, (reference, image) in enumerate(images.items()):
            version = _version_layer(image.version)
            config = json.dumps(_config(image, layers=(base, version))).encode()
            name = hashlib.sha256(config).hexdigest()
            _add(tar, f"{name}.json", config)
            _add(tar, f"{number}/layer.tar", version)
            layers = ["base/layer.tar", f"{number}/layer.tar"]
            manifest.append({"Config": f"{name}.json", "RepoTags": [reference], "Layers": layers})
        _add(tar, "manifest.json", json.dumps(manifest).encode())
    return out.getvalue()


def parts(image: Image) -> tuple[bytes, tuple[bytes, ...]]:
    """Return the configuration of an image and its layers, compressed as a registry has them.

    The image has the same ID as in `archive`.
    """
    layers = (_base_layer(), _version_layer(image.version))
    return json.dumps(_config(image, layers)).encode(), tuple(_compressed(layer) for layer in layers)


@cache
def _compressed(layer: bytes) -> bytes:
    return gzip.compress(layer, compresslevel=1, mtime=0)


@cache
def _version_layer(version: str) -> bytes:
    return _layer({"version": f"{version}\n".encode()})


def _config(image: Image, layers: Sequence[bytes]) -> dict[str, object]:
    """Return the image's configuration document (OCI image spec, `config.md`, with Docker's Healthcheck)."""
    env = {"PATH": "/bin", "VERSION": image.version, **image.env}
    config: dict[str, object] = {
        "Cmd": list(image.command),
        "Entrypoint": list(image.entrypoint) or None,
        "Env": [f"{name}={value}" for name, value in env.items()],
        "Labels": dict(image.labels),
        "Volumes": {path: {} for path in image.volumes} or None,
        "ExposedPorts": {port: {} for port in image.exposed_ports} or None,
        "WorkingDir": image.working_dir,
        "User": image.user,
    }
    if image.stop_signal:
        config["StopSignal"] = image.stop_signal
    if image.healthcheck:
        config["Healthcheck"] = {"Test": list(image.healthcheck), "Interval": 200_000_000, "Retries": 2}
    return {
        "architecture": image.architecture or architecture(),
        "os": "linux",
        "created": _EPOCH,
        "config": config,
        "history": [{"created": _EPOCH, "created_by": "tests/support/images.py"} for _ in layers],
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer).hexdigest() for layer in layers]},
    }


def architecture() -> str:
    """Return this machine's architecture, as registries write it."""
    machine = os.uname().machine
    return {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)


@cache
def _base_layer() -> bytes:
    links = {f"bin/{applet}": "busybox" for applet in APPLETS}
    files = {"bin/busybox": BUSYBOX.read_bytes(), "serve": SERVE.encode(), "crash": CRASH.encode()}
    # /etc/passwd gives tests a second user; /tmp and /www are what any user may write to.
    files["etc/passwd"] = b"root:x:0:0:root:/:/bin/sh\napp:x:1000:1000:app:/:/bin/sh\n"
    return _layer(files, links)


def _layer(files: Mapping[str, bytes], links: Mapping[str, str] | None = None) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for folder in sorted({str(Path(name).parent) for name in files} | set(_WRITABLE)):
            if folder != ".":
                entry = tarfile.TarInfo(folder)
                entry.type, entry.mode = tarfile.DIRTYPE, 0o1777 if folder in _WRITABLE else 0o755
                tar.addfile(entry)
        for name, content in files.items():
            _add(tar, name, content)
        for name, target in (links or {}).items():
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname, entry.mode = tarfile.SYMTYPE, target, 0o777
            tar.addfile(entry)
    return out.getvalue()


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o755
    tar.addfile(entry, io.BytesIO(content))
