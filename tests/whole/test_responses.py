"""Replies of people while processes are killed and answers are lost: a short run of the harness."""

from tests.responses import report, run


def test_each_reply_arrives_once_or_is_refused_to_the_person() -> None:
    result = run(60, seed=4)
    assert not result.wrong, report(result, 4)
    assert result.replies >= 60
    assert result.kills >= 10
    assert {"done", "other_reply", "other_text"} <= set(result.outcomes)
