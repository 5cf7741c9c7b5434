"""Output of several containers is merged."""

from tutumd.engines.rollout.log_lines import merge_log_lines


def test_lines_are_put_in_order_of_time() -> None:
    texts = ["2026-01-01T00:00:03Z c\n2026-01-01T00:00:01Z a b\n", "2026-01-01T00:00:02Z b\n"]
    assert merge_log_lines(texts, 10) == "a b\nb\nc"
    assert merge_log_lines(texts, 2) == "b\nc"
    assert merge_log_lines(texts, 0) == ""


def test_lines_of_the_same_time_keep_their_order() -> None:
    text = "2026-01-01T00:00:02Z third\n2026-01-01T00:00:01Z first\n2026-01-01T00:00:01Z second\n"
    assert merge_log_lines([text], 10) == "first\nsecond\nthird"


def test_line_ends_of_a_terminal_are_removed() -> None:
    assert merge_log_lines(["2026-01-01T00:00:01Z from a terminal\r\n"], 10) == "from a terminal"


def test_at_most_64_kib_are_returned() -> None:
    assert len(merge_log_lines([f"2026-01-01T00:00:01Z {'ä' * 70_000}"], 10).encode()) == 64 * 1024


def test_a_sentence_of_the_engine_is_no_output() -> None:
    text = "2026-01-01T00:00:01Z fatal\nunable to retrieve container logs for containerd://0a1b"
    assert merge_log_lines([text], 10) == "fatal"
