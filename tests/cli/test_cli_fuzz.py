"""A slice of the fuzz of the command line, and that its judge finds what is wrong."""

from __future__ import annotations

import pytest

from chaos.commands import Answer, faults, fuzz, told, workplace


def test_sixty_wrong_inputs_are_answered_in_one_line_or_work() -> None:
    with workplace():
        wrong = [
            told(what, words, answer, found)
            for what, words, answer in fuzz(seed=18, count=60)
            if (found := faults(answer, "-v" in words or "--verbose" in words))
        ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(2, "", "Error: a\nError: b\n", 1.0), "2 lines of error"),
        (Answer(2, "", "", 1.0), "0 lines of error"),
        (Answer(0, "", "Error: a\n", 1.0), "an error with exit code 0"),
        (Answer(1, "", "Traceback (most recent call last):\nError: a\n", 1.0), "traceback"),
        (Answer(1, "", "Error: K: 'x' (-v shows the traceback)\n", 1.0), "told as a defect"),
        (Answer(2, "", "Error: \x1b[31m\n", 1.0), "characters that a terminal obeys"),
        (Answer(2, "", f"Error: {'x' * 2000}\n", 1.0), "a line of 2007 characters"),
        (Answer(7, "", "Error: a\n", 1.0), "exit code 7"),
        (Answer(0, "", "", 61.0), "took 61 s"),
        (Answer(0, "", "", 1.0, "KeyError()"), "traceback KeyError()"),
    ],
)
def test_the_judge_finds_what_is_wrong(answer: Answer, fault: str) -> None:
    assert fault in "; ".join(faults(answer))
    assert faults(Answer(2, "", "Error: a\n", 1.0)) == []
