"""The user of the operating system who runs a command. Such a user may do everything; the audit log names them."""

import os
import pwd
from datetime import UTC, datetime

from tutumd.model import Access, User, Via


def operator(command: str) -> User:
    """Return the user of the operating system as a user who may do everything. `command` is for the audit log."""
    user_id = os.getuid()
    try:
        name = pwd.getpwuid(user_id).pw_name
    except KeyError:  # in a container, which may run as any number
        name = f"uid {user_id}"
    access = Access(via=Via.COMMAND, credential=command)
    return User(uuid="", name=name, is_admin=True, created=datetime.now(UTC), access=access)
