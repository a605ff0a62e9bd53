"""What was said beside what was heard: every answer has its row, and what differs is not praised."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from tinygen.listening.playing import Moment
from tinygen.report.conversation_table import conversation_table, conversation_verdict
from tinygen.results import HeardResult, Result
from tinygen.session import Hello
from tinygen.word_demonstration import Conversation, Spoken


def moment(seconds: float, word: str | None, equal: bool = True) -> Moment:
    heard = HeardResult(seconds, word, Result("", {}, {}, None))
    return Moment(heard, heard if equal else replace(heard, word="stop"), equal)


def conversation(*moments: Moment) -> Conversation:
    spoken = (Spoken("hello", 1, 1.5), Spoken("yes", 2, 2.5), Spoken("no", 3, 3.5))
    hello = Hello(1, "keywords", "", (), (), 1, 0, 240, None, True, False)
    return Conversation("out", "keywords", "a board", "x.wav", 5, ("yes", "no"), spoken, moments, None, hello, None)


def text_of(shown: Conversation) -> str:
    console = Console(width=160)
    with console.capture() as capture:
        console.print(conversation_table(shown))
    return f"{capture.get()}{conversation_verdict(shown)}"


def test_answers_belong_to_what_was_said_last() -> None:
    moments = [moment(0.5, "no"), moment(1.2, None), moment(2.6, "yes"), moment(2.9, "no"), moment(4, "no")]
    shown = conversation(*moments)
    assert [(said and said.said, heard and heard.seconds) for said, heard in shown.answers] == [
        (None, 0.5),
        ("hello", None),
        ("yes", 2.6),
        (None, 2.9),
        ("no", 4),
    ]
    assert "2 of the 2 words that it knows are recognised" in text_of(shown)


@pytest.mark.parametrize("moments", [(), (moment(2.6, "yes", equal=False),), (moment(1.2, None, equal=False),)])
def test_what_is_not_the_references_is_no_success(moments: tuple[Moment, ...]) -> None:
    shown = conversation(*moments)
    assert not shown.success
    said = text_of(shown)
    assert "FAILURE" in said and "SUCCESS" not in said
    assert said.count("DIFFER") == len(moments)
