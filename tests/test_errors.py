"""Names before messages of errors."""

import pytest

from nni_magic.errors import naming


def test_name_comes_before_the_message():
    with (
        pytest.raises(ValueError, match=r"^plan: steps: it is 0$"),
        naming("plan"), naming("steps"),
    ):  # fmt: skip
        raise ValueError("it is 0")


def test_other_errors_pass():
    with pytest.raises(KeyError, match=r"^'a'$"), naming("plan"):
        raise KeyError("a")
