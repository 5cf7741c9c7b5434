"""The budget of unfinished requests: who is dropped, and who is not."""

from tutumd.web.unfinished import Unfinished, UnfinishedRequests


class Bed:
    """A budget of 100 bytes with a clock that a test turns, and the requests that were dropped."""

    def __init__(self) -> None:
        self.now = 0.0
        self.dropped: list[str] = []
        self.budget = UnfinishedRequests(lambda _: "", max_bytes=100, clock=lambda: self.now)

    def begin(self, name: str, holder: str, size: int = 1) -> Unfinished:
        request = Unfinished(drop=lambda: self.dropped.append(name))
        self.budget.hold(request, holder, size)
        return request


def test_the_slowest_of_the_largest_holder_is_dropped() -> None:
    bed = Bed()
    slow, fast = bed.begin("slow", "a"), bed.begin("fast", "a")
    other = bed.begin("other, the slowest of all", "b", 20)
    bed.now = 9.5
    late = bed.begin("late", "a")
    bed.now = 11
    bed.budget.hold(slow, "a", 35)
    bed.budget.hold(late, "a", 10)
    assert bed.begin("young", "a").size
    bed.budget.hold(fast, "a", 40)
    assert bed.dropped == ["slow"], "late has less, but for less time; young has only just begun"
    bed.budget.hold(fast, "a", 69)
    assert bed.dropped == ["slow"], "what was dropped is counted no longer"
    bed.budget.hold(other, "b", 40)
    assert bed.dropped == ["slow", "fast"], "b holds less than a"


def test_what_is_complete_is_counted_no_longer() -> None:
    bed = Bed()
    for _ in range(10):
        whole = bed.begin("whole", "a", 90)
        bed.budget.release(whole)
        bed.budget.release(whole)
    assert bed.dropped == []
    bed.begin("too large alone", "a", 101)
    assert bed.dropped == ["too large alone"]
