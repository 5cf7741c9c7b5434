"""Program that runs a command of tutumd, and kills itself before the Nth time that it changes a file of a folder.

Usage: `killed_program.py N FOLDER ARGUMENT…`. With fewer changes than N the command ends as usual.
"""

import os
import signal
import sys
from typing import Any

_CHANGES = {"os.rename", "os.link", "os.remove", "os.chmod", "os.chown", "os.truncate", "sqlite3.connect"}


def main() -> None:
    """Run the command."""
    left, folder = int(sys.argv[1]), sys.argv[2]

    def count(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        is_write = event == "open" and isinstance(arguments[1], str) and arguments[1][0] in "wax"
        if (event in _CHANGES or is_write) and folder in str(arguments[0]):
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    sys.argv = ["tutumd", *sys.argv[3:]]
    from tutumd.main import main as run

    run()


if __name__ == "__main__":
    main()
