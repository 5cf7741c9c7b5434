"""Archives that are given to `tutumd restore` and lie."""

import io
import json
import tarfile
from dataclasses import asdict
from pathlib import Path

import pytest

from tutumd.errors import SettingsError
from tutumd.main import archive

MANIFEST = archive.Manifest(version="1", created="2026", schema="1", files={archive.DATABASE: ""})


def member(name: str, content: bytes, **headers: str) -> bytes:
    """Return a member of an archive, with headers of its own."""
    info = tarfile.TarInfo(name)
    info.size, info.pax_headers = len(content), headers
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.PAX_FORMAT) as target:
        target.addfile(info, io.BytesIO(content))
        end = target.offset
    return made.getvalue()[:end]


def chained(count: int) -> bytes:
    """Return a member behind many headers that each apply to the next one."""
    link = member(archive.DATABASE, b"", path="x" * 200)
    return link[:-512] * count + member(archive.DATABASE, b"")


def read(folder: Path, *members: bytes) -> archive.Manifest:
    source = io.BytesIO(b"".join(members) + bytes(tarfile.RECORDSIZE))
    return archive.read(io.BufferedReader(source), {name: folder / name for name in archive.MEMBERS})


LIES = [
    member(archive.DATABASE, b"a", **{"GNU.sparse.map": "a,b"}),
    member(archive.DATABASE, b"a", **{"GNU.sparse.map": "1,2,3"}),
    member(archive.DATABASE, b"a", **{"GNU.sparse.size": "x"}),
    member(archive.DATABASE, b"a" * 512, **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    member(archive.DATABASE, b"9" * 512, **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    member(archive.DATABASE, b"", **{"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}),
    member(archive.DATABASE, b"a", **{"GNU.sparse.map": "0," + "9" * 30, "GNU.sparse.size": "9" * 30}),
    member(archive.DATABASE, b"a", **{"GNU.sparse.size": "9" * 5000}),
    member(archive.DATABASE, b"a", **{"GNU.sparse.realsize": "-"}),
    chained(2000),
]


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("is_first", [True, False])
def test_an_archive_with_headers_that_lie_is_damaged(tmp_path: Path, lie: bytes, *, is_first: bool) -> None:
    members = [lie] if is_first else [member(archive.MANIFEST, json.dumps(asdict(MANIFEST)).encode()), lie]
    with pytest.raises(SettingsError, match=r"damaged|not a backup of tutumd"):
        read(tmp_path, *members)
