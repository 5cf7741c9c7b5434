"""Reading back what an action noted of itself, which another version of tutumd may have noted in another way."""

from collections.abc import Iterator
from contextlib import contextmanager

from tutumd.errors import EngineRefusedError


@contextmanager
def reading_back() -> Iterator[None]:
    """Raise EngineRefusedError where the block meets a journal that this version does not understand.

    To try again would not help, and to begin anew could take what was half done for what was there before.
    """
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise EngineRefusedError(
            "another version of tutumd began this action, and its notes cannot be read: the service was left as it is; "
            "see what it runs, and redeploy it"
        ) from error
