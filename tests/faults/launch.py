"""`tutumd serve` and `tutumd worker` with the shared engine instead of those of the setting `engine`.

python -m tests.faults.launch serve|worker SOCKET JSON-OF-OPTIONS
"""

import json
import sys
from contextlib import ExitStack
from pathlib import Path

from tests.faults.engine import NAME, SharedEngine
from tutumd.main.serve import serve, work
from tutumd.ports.engine import Engine
from tutumd.settings import Settings


def main(half: str, socket_path: str, options: str) -> None:
    """Build the parts as `tutumd` does, and run until a signal."""

    def build_engines(_settings: Settings, _stack: ExitStack) -> dict[str, Engine]:
        return {NAME: SharedEngine(Path(socket_path))}

    run = {"serve": serve, "worker": work}[half]
    run(json.loads(options), build_engines)


if __name__ == "__main__":
    main(*sys.argv[1:])
