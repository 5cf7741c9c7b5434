"""Starts a server in a temporary folder and calls a handler: whether a copy of the source works at all."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import tutumd
from tests.support.server import LiveServer


def main() -> int:
    """Return 0 if a call to a server of the source below this folder is accepted."""
    source = Path(tutumd.__path__[0])
    if source.parent.parent != Path.cwd():
        print(f"the source is that of {source}")
        return 1
    with TemporaryDirectory(prefix="tutumd-guards-call-") as folder:
        with LiveServer(Path(folder), "--engine", "local") as server:
            service = str(server.create_service("web")["uuid"])
            handler = server.add_handler(service)
            answer = server.post(f"/api/v1/service/{service}/webhook/handler/{handler}/call/")
        print(answer)
    return int(answer.status != 202)


if __name__ == "__main__":
    sys.exit(main())
