"""A check of what a worker takes from an action's row: whoever writes to the database can put anything there."""

import re
from collections.abc import Mapping

from tutumd.errors import EngineRefusedError
from tutumd.model import TAG, VARIABLE, Action

_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def check_request(action: Action) -> None:
    """Raise EngineRefusedError if an action asks for something that no handler can ask for.

    A tag with other characters could name another repository or a digest. A variable with another name, such as
    LD_PRELOAD, could run a command. The UUID becomes a part of the names of containers.
    """
    tag: object = action.tag
    variables: object = action.variables
    is_allowed = (
        _UUID.fullmatch(action.uuid)
        and (tag is None or (isinstance(tag, str) and TAG.fullmatch(tag)))
        and isinstance(variables, Mapping)
        and all(VARIABLE.fullmatch(name) for name in variables)
        and all(value is None or isinstance(value, str) for value in variables.values())
    )
    if not is_allowed:
        raise EngineRefusedError(
            "refused: the tag or a variable of this action is none that a webhook handler can set, so a program other "
            "than tutumd has written the action into the database; find out which, then call the handler again"
        )
