"""Which container this process runs in, if it runs in one."""

import re
from pathlib import Path

_MOUNTED_FROM = re.compile(r"/containers/([0-9a-f]{64})/hostname /etc/hostname ")
_CONTROL_GROUP = re.compile(r"docker[/-]([0-9a-f]{64})")


def find_self_container_id(proc: Path = Path("/proc/self")) -> str | None:
    """Look up the ID of our container in `/proc`; None outside of one.

    The engine mounts /etc/hostname from a folder that is named after the container.
    """
    for name, pattern in (("mountinfo", _MOUNTED_FROM), ("cgroup", _CONTROL_GROUP)):
        try:
            text = (proc / name).read_text(errors="replace")
        except OSError:
            continue
        found = pattern.search(text)
        if found:
            return found[1]
    return None
