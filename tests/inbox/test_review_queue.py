"""`hitl review`: decisions that are shown, held, sent and undone."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from hitl_cli.inbox.review_queue import HOLD_MS, ReviewQueue
from hitl_cli.requests.decision_input import DecisionInput

YES = DecisionInput(verdict="approve")
NO = DecisionInput(verdict="reject", reason="no")


def review(*ids: str) -> ReviewQueue:
    made = ReviewQueue()
    made.listed(ids, complete=True)
    return made


def test_a_decision_is_sent_after_five_seconds_and_the_next_request_is_shown_meanwhile() -> None:
    one = review("a", "b")
    assert one.position == (1, 2)
    assert one.hold("a", YES, 1_000)
    assert (one.current, one.position) == ("b", (2, 2))
    assert one.due(1_000 + HOLD_MS - 1) is None
    sent = one.due(1_000 + HOLD_MS)
    assert sent is not None
    assert (sent.id, sent.answer) == ("a", YES)
    assert one.undo() is None
    one.decided("a", "approve")
    assert one.summary.approved == 1
    assert one.summary.left == 1


def test_what_was_decided_last_is_taken_back_first_and_shown_again() -> None:
    one = review("a", "b", "c")
    one.hold("a", YES, 0)
    one.hold("b", NO, 1)
    assert one.current == "c"
    last = one.undo()
    assert last is not None
    assert (last.id, one.current) == ("b", "b")
    assert [held.id for held in one.held] == ["a"]
    one.hold("b", YES, 2)
    assert one.current == "c"


def test_what_comes_later_stands_at_the_end_and_changes_no_place() -> None:
    one = review("b", "c")
    one.hold("b", YES, 0)
    one.listed(["a", "b", "c"], complete=True)
    assert (one.current, one.position) == ("c", (2, 3))
    one.skip()
    assert one.current == "a"


def test_what_another_decided_is_left_out_and_an_old_list_does_not_bring_it_back() -> None:
    one = review("a", "b", "c")
    one.gone("a")
    assert (one.current, one.position) == ("b", (1, 2))
    one.listed(["a", "b"], complete=True)
    assert (one.current, one.position) == ("b", (1, 1))
    assert not one.hold("a", YES, 0)


def test_the_one_that_is_shown_does_not_vanish_without_a_word() -> None:
    one = review("a", "b")
    one.listed(["b"], complete=True)
    assert one.current == "a"


def test_a_list_with_an_end_missing_drops_nothing() -> None:
    one = review("a", "b")
    one.listed(["c"], complete=False)
    assert one.position == (1, 3)


def test_what_was_skipped_can_be_taken_up_again() -> None:
    one = review("a", "b")
    one.skip()
    one.skip()
    assert (one.current, one.summary.skipped) == (None, 2)
    one.again()
    assert (one.current, one.summary.skipped) == ("a", 0)


def test_an_answer_that_was_refused_leaves_the_request_open() -> None:
    one = review("a")
    one.hold("a", YES, 0)
    assert one.flush() is not None
    one.refused("a")
    assert one.current == "a"
    assert one.summary.left == 1


def test_what_is_dropped_was_not_sent() -> None:
    one = review("a", "b")
    one.hold("a", YES, 0)
    one.hold("b", NO, 0)
    assert [held.id for held in one.drop()] == ["a", "b"]
    assert one.flush() is None
    assert one.summary.left == 2


class Reviewing(RuleBasedStateMachine):
    """Whatever happens in whatever order: nothing is sent twice, too early, or after it was taken back."""

    def __init__(self) -> None:
        super().__init__()
        self.review = ReviewQueue()
        self.now = 0
        self.held: list[tuple[str, int]] = []
        self.sending: list[str] = []
        self.decided: set[str] = set()
        self.gone: set[str] = set()

    @rule(ids=st.lists(st.sampled_from("abcdef"), unique=True), complete=st.booleans())
    def listed(self, ids: list[str], complete: bool) -> None:
        self.review.listed(ids, complete=complete)

    @rule(id=st.sampled_from("abcdef"), yes=st.booleans())
    def hold(self, id: str, yes: bool) -> None:
        if self.review.hold(id, YES if yes else NO, self.now):
            assert id not in {*self.sending, *self.decided, *self.gone, *(name for name, _ in self.held)}
            self.held.append((id, self.now))

    @rule()
    def skip(self) -> None:
        self.review.skip()

    @rule()
    def again(self) -> None:
        self.review.again()

    @rule()
    def undo(self) -> None:
        last = self.review.undo()
        assert (last.id if last else None) == (self.held.pop()[0] if self.held else None)
        assert last is None or self.review.current == last.id

    @rule(ms=st.integers(0, 2 * HOLD_MS))
    def later(self, ms: int) -> None:
        self.now += ms
        while (sent := self.review.due(self.now)) is not None:
            id, at = self.held.pop(0)
            assert (sent.id, self.now >= at + HOLD_MS) == (id, True)
            self.sending.append(id)
        assert all(self.now < at + HOLD_MS for _, at in self.held)

    @rule(refused=st.booleans())
    def answered(self, refused: bool) -> None:
        if self.sending:
            id = self.sending.pop(0)
            if refused:
                self.review.refused(id)
            else:
                self.review.decided(id, "approve")
                self.decided.add(id)

    @rule()
    def current_is_gone(self) -> None:
        if self.review.current is not None:
            self.gone.add(self.review.current)
            self.review.gone(self.review.current)

    @invariant()
    def one_is_shown_while_any_is_open(self) -> None:
        shown = self.review.current
        assert shown is None or self.review.is_open(shown)
        place, count = self.review.position
        assert (place > 0) == (shown is not None)
        assert place <= count
        summary = self.review.summary
        assert summary.approved == len(self.decided)
        assert summary.left + summary.skipped + len(self.decided) == count
        if shown is None:
            assert summary.left == len(self.held) + len(self.sending)


TestReviewing = Reviewing.TestCase
TestReviewing.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)


def test_what_was_answered_here_and_still_waits_is_reached_beyond() -> None:
    review = ReviewQueue()
    review.listed(["a", "b"], complete=False)
    assert review.passed == 0
    review.hold("a", YES, 0)
    review.flush()
    review.decided("a", "approve")
    review.skip()
    assert review.passed == 2
