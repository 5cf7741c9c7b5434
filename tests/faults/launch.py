"""`tutumd serve` and `tutumd worker` with the shared engine instead of those of the setting `engine`.

python -m tests.faults.launch serve|worker SOCKET JSON-OF-OPTIONS
python -m tests.faults.launch child SOCKET     the worker of `tutumd serve`
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.faults.engine import NAME, SharedEngine
from tutumd.main.serve import serve
from tutumd.main.work import work, work_for_edge
from tutumd.ports.engine import Engine
from tutumd.settings import Settings


def main(part: str, socket_path: str, options: str = "{}") -> None:
    """Build the parts as `tutumd` does, and run until a signal."""

    def build_engines(_settings: Settings, _stack: ExitStack, _installation: str) -> dict[str, Engine]:
        return {NAME: SharedEngine(Path(socket_path))}

    if part == "serve":
        serve(json.loads(options), [sys.executable, "-m", "tests.faults.launch", "child", socket_path])
    elif part == "worker":
        work(json.loads(options), build_engines)
    else:
        work_for_edge(build_engines)


if __name__ == "__main__":
    main(*sys.argv[1:])
