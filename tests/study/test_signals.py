"""What the words of a command are when it is given again."""

import pytest

from tuneproof.study.signals import goes_on


@pytest.mark.parametrize(
    ("words", "again"),
    [
        (["run", "a b.yaml"], "tuneproof run 'a b.yaml'"),
        (["run", "r.yaml", "--restart", "head", "--quiet"], "tuneproof run r.yaml --quiet"),
        (["run", "r.yaml", "--restart=all", "--accept-change"], "tuneproof run r.yaml"),
    ],
)
def test_what_was_to_be_done_once_is_not_in_the_command_that_goes_on(words, again) -> None:
    assert goes_on(words) == again
