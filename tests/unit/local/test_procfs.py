from tutumd.engines.local.procfs import Stat, parse_stat

TAIL = " 1 23 42 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 98765 0 0"


def test_a_stat_line_is_read_by_its_fields() -> None:
    assert parse_stat(f"23 (sleep) S{TAIL}") == Stat(pid=23, state="S", parent=1, session=42, start_ticks=98765)


def test_a_program_name_with_spaces_and_parentheses_does_not_confuse() -> None:
    assert parse_stat(f"23 (a) R 7 (b) Z{TAIL}") == Stat(pid=23, state="Z", parent=1, session=42, start_ticks=98765)


def test_a_zombie_is_not_alive() -> None:
    assert [parse_stat(f"1 (x) {state}{TAIL}").is_alive for state in "RSDTZX"] == [True] * 4 + [False] * 2
