"""Run a command line client of 2015 on Python 3: restore what it uses of Python 2, then call its `main`.

    python python2_names.py service ps

Not a byte of the client is changed. What it needs, and no longer finds:

- the modules `ConfigParser`, `urlparse` and `distutils`, and the built-in `raw_input`;
- `import exceptions` inside the package `tutumcli`, which meant the package's own module (PEP 328);
- `sys.stdout` as a stream of bytes: the client wraps it in an encoder of its own;
- `urljoin` and `b64encode` of text and of encoded text, which were one type.
"""

import base64
import builtins
import configparser
import importlib
import sys
import types
import urllib.parse


class ByteTolerantOutput:
    """A text stream that takes encoded text as well."""

    def __init__(self, stream: object) -> None:
        self._stream = stream

    def write(self, text: str | bytes) -> int:
        written: int = self._stream.write(text.decode("utf-8") if isinstance(text, bytes) else text)  # type: ignore[attr-defined]  # any text stream
        return written

    def __getattr__(self, name: str) -> object:
        return getattr(self._stream, name)


_urljoin = urllib.parse.urljoin
_b64encode = base64.b64encode


def urljoin(base: str, url: str | bytes) -> str:
    """Join two addresses, the second of which may be encoded."""
    return _urljoin(base, url.decode() if isinstance(url, bytes) else url)


def b64encode(data: str | bytes) -> str | bytes:
    """Encode text to text, and bytes to bytes."""
    return _b64encode(data) if isinstance(data, bytes) else _b64encode(data.encode()).decode()


def restore() -> None:
    """Put the names where the client looks for them."""
    urllib.parse.urljoin = urljoin  # type: ignore[assignment]  # takes what Python 2 took
    base64.b64encode = b64encode  # type: ignore[assignment]  # takes what Python 2 took
    sys.modules["ConfigParser"] = configparser
    sys.modules["urlparse"] = urllib.parse
    sys.modules["distutils"] = types.ModuleType("distutils")
    sys.modules["exceptions"] = importlib.import_module("tutumcli.exceptions")
    builtins.raw_input = input  # type: ignore[attr-defined]  # gone since Python 3.0
    sys.stdout = ByteTolerantOutput(sys.stdout)


if __name__ == "__main__":
    restore()
    main = importlib.import_module("tutumcli.tutum_cli").main
    sys.exit(main())
