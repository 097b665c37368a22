"""Stop strings against the plain definition: the text up to the first place where any of them begins."""

from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.engine.stops import StopStrings

WORDS = st.text("ab", min_size=1, max_size=4)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.text("abc", max_size=3), max_size=12), st.lists(WORDS, max_size=3))
def test_shown_text_is_everything_before_the_first_stop_string(pieces: list[str], stops: list[str]) -> None:
    machine, shown = StopStrings(stops), ""
    stopped, given_ = False, ""
    for piece in pieces:
        given_ += piece
        new, stopped = machine.push(piece)
        shown += new
        if stopped:
            break
        held = given_[
            len(shown) :
        ]  # held back only because a stop string may be under way, and then all of it
        assert given_.startswith(shown) and (not held or any(stop.startswith(held) for stop in stops))
    if not stopped:
        shown += machine.flush()
    first = min((at for stop in stops if (at := given_.find(stop)) >= 0), default=None)
    assert stopped == (first is not None)
    assert shown == (given_ if first is None else given_[:first])
