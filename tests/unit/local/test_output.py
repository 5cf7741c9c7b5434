import os
from pathlib import Path

from tutumd.engines.local.data_folder import TAIL_BYTES, read_on, rotate, tail


def test_a_file_within_the_limit_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text("12345")
    rotate(path, max_bytes=5)
    assert [entry.name for entry in tmp_path.iterdir()] == ["a.log"]


def test_a_writer_goes_on_at_the_beginning_of_the_cut_file(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    writer = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(writer, b"one\ntwo\n")
        rotate(path, max_bytes=5)
        os.write(writer, b"three\n")
    finally:
        os.close(writer)
    assert path.read_text() == "three\n"
    assert (tmp_path / "a.log.1").read_text() == "one\ntwo\n"
    assert tail(path, 2) == ["two", "three"]


def test_only_one_older_part_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    for part in ("first", "second"):
        path.write_text(part)
        rotate(path, max_bytes=1)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["a.log", "a.log.1"]
    assert tail(path, 10) == ["second"]


def test_no_file_has_no_lines_and_needs_no_rotation(tmp_path: Path) -> None:
    assert tail(tmp_path / "a.log", 5) == []
    rotate(tmp_path / "a.log", max_bytes=1)
    assert list(tmp_path.iterdir()) == []


def test_the_tail_of_a_large_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    line = "x" * 99
    path.write_text(f"{line}\n" * (TAIL_BYTES // 50))
    assert set(tail(path, 10**6)) == {line}
    assert tail(path, 2) == [line, line]


def test_bytes_that_are_no_text_are_replaced_and_unfinished_lines_shown(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_bytes(b"a\xff\n\nrest")
    assert tail(path, 5) == ["a\ufffd", "", "rest"]
    assert tail(path, 0) == []


def test_a_read_continues_after_complete_lines_and_over_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    assert read_on(path, 0) == ([], 0)
    path.write_bytes(b"one\ntwo\nthr")
    assert read_on(path, 4) == (["two"], 8)
    with path.open("ab") as file:
        file.write(b"ee\n")
    rotate(path, max_bytes=1)
    path.write_bytes(b"four\n")
    assert read_on(path, 8) == (["three", "four"], 5)
    assert read_on(path, 5) == ([], 5)
    path.write_bytes(b"x" * TAIL_BYTES)
    assert read_on(path, 0)[1] == TAIL_BYTES, "a line without an end is not read for ever"
