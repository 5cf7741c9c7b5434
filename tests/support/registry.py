"""Registry of a test bed: docker-registry in the bed's network namespace."""

import base64
import hashlib
import json
import signal
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

from tests.support import images, namespace
from tests.support.images import Image
from tests.support.programs import end, listens
from tests.support.waiting import wait_until

ANONYMOUS = "127.0.0.1:5000"
PRIVATE = "127.0.0.1:5001"
USER = "tester"
PASSWORD = "tutumd-test"
# bcrypt of PASSWORD at its lowest cost, the only form that docker-registry reads.
_HTPASSWD = f"{USER}:$2b$04$vRYHhoR3Na27z8IkKCJCEu2WVbbHFL8C6.DPFOKAAzE83rUjE11Te\n"


_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
_CONFIG = "application/vnd.docker.container.image.v1+json"
_LAYER = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Registry:
    """One registry. It keeps its images when it is stopped.

    Args:
        address: `PRIVATE` wants `USER` and `PASSWORD`; another is open.
        folder: Of the whole bed.
    """

    def __init__(self, address: str, bed: str, folder: Path) -> None:
        self.address = address
        self._bed = bed
        self._folder = folder / f"registry-{address.rpartition(':')[2]}"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the registry, unless it runs, and wait until it listens."""
        if self._process is not None:
            return
        self._folder.mkdir(exist_ok=True)
        (self._folder / "htpasswd").write_text(_HTPASSWD)
        # JSON is YAML.
        (self._folder / "config.yml").write_text(json.dumps(self._settings()))
        serve = ["docker-registry", "serve", str(self._folder / "config.yml")]
        log = self._folder / "log"
        self._process = namespace.spawn_in(self._bed, serve, log)
        port = int(self.address.rpartition(":")[2])
        wait_until(
            lambda: namespace.call_in(self._bed, lambda: listens(port)),
            f"the registry listens on {self.address}; {log}",
        )

    def stop(self) -> None:
        """Stop the registry. Connections to it are then refused."""
        if self._process is not None:
            end(self._process, signal.SIGKILL)
            self._process = None

    def push(self, repository: str, image: Image, tag: str) -> str:
        """Put an image under a tag, as a client on another machine does, and return its digest."""
        return namespace.call_in(self._bed, lambda: self._push(repository, image, tag)[1])

    def push_index(self, repository: str, pushed: Iterable[Image], tag: str) -> str:
        """Put images of several architectures under one tag, and return the digest of their index."""

        def put() -> str:
            entries = []
            for image in pushed:
                size, digest = self._push(repository, image, image.architecture)
                platform = {"os": "linux", "architecture": image.architecture}
                entries.append({"mediaType": _MANIFEST, "size": size, "digest": digest, "platform": platform})
            return self._put_manifest(repository, tag, {"mediaType": _INDEX, "manifests": entries})[1]

        return namespace.call_in(self._bed, put)

    def delete(self, repository: str, digest: str) -> None:
        """Delete a manifest, and the blobs that no other one needs."""
        path = f"/v2/{repository}/manifests/{digest}"
        namespace.call_in(self._bed, lambda: self._request("DELETE", path, expected=(202,)))
        self.stop()
        collect = ["docker-registry", "garbage-collect", str(self._folder / "config.yml")]
        subprocess.run(collect, check=True, capture_output=True)
        self.start()

    def _push(self, repository: str, image: Image, tag: str) -> tuple[int, str]:
        config, layers = images.parts(image)
        for blob in (config, *layers):
            self._put_blob(repository, blob)
        document = {
            "mediaType": _MANIFEST,
            "config": _description(config, _CONFIG),
            "layers": [_description(layer, _LAYER) for layer in layers],
        }
        return self._put_manifest(repository, tag, document)

    def _put_blob(self, repository: str, blob: bytes) -> None:
        """Upload a blob, unless the repository has it (distribution spec, "Pushing blobs")."""
        digest = _digest(blob)
        if self._request("HEAD", f"/v2/{repository}/blobs/{digest}", expected=(200, 404))[0] == 200:
            return
        _, location = self._request("POST", f"/v2/{repository}/blobs/uploads/", expected=(202,))
        upload = urlsplit(location)
        self._request("PUT", f"{upload.path}?{upload.query}&digest={digest}", blob, expected=(201,))

    def _put_manifest(self, repository: str, tag: str, document: Mapping[str, object]) -> tuple[int, str]:
        text = json.dumps({"schemaVersion": 2, **document}).encode()
        kind = str(document["mediaType"])
        self._request("PUT", f"/v2/{repository}/manifests/{tag}", text, {"Content-Type": kind}, expected=(201,))
        return len(text), _digest(text)

    def _request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        expected: Sequence[int],
    ) -> tuple[int, str]:
        """Send one request; return the status and the Location."""
        login = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        authorized = {"Authorization": f"Basic {login}"} if self.address == PRIVATE else {}
        with closing(HTTPConnection(self.address, timeout=60)) as connection:
            connection.request(method, path, body, {**authorized, **(headers or {})})
            response = connection.getresponse()
            assert response.status in expected, (method, path, response.status, response.read())
            return response.status, response.headers.get("Location", "")

    def _settings(self) -> dict[str, object]:
        settings: dict[str, object] = {
            "version": 0.1,
            "log": {"level": "warn"},
            "storage": {"filesystem": {"rootdirectory": str(self._folder / "data")}, "delete": {"enabled": True}},
            "http": {"addr": self.address},
        }
        if self.address == PRIVATE:
            settings["auth"] = {"htpasswd": {"realm": "test", "path": str(self._folder / "htpasswd")}}
        return settings


def _digest(blob: bytes) -> str:
    return f"sha256:{hashlib.sha256(blob).hexdigest()}"


def _description(blob: bytes, kind: str) -> dict[str, object]:
    return {"mediaType": kind, "size": len(blob), "digest": _digest(blob)}
