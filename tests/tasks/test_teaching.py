"""Settings of teachers."""

from pathlib import Path

import pytest

from nni_magic.tasks.teaching import Lessons, TaskTeacher, Teacher


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"teacher_weight": 0}, "teacher_weight is 0; accepted are finite numbers above 0"),
        ({"teacher_temperature": -1}, "teacher_temperature is -1; accepted are finite numbers ab"),
        ({"imitate": ("scores",)}, "imitate is 'scores'; accepted are 'logits', 'hidden', 'relat"),
        ({"imitate": ()}, r"imitate is \[\]; accepted are one or more of logits, hidden, relatio"),
        ({"imitate": ("hidden", "hidden")}, r"imitate is \['hidden', 'hidden'\]; accepted are on"),
        ({"relation_heads": 0}, "relation_heads is 0; accepted are whole numbers of at least 1"),
        ({"teacher": 3}, "teacher is 3"),
    ],
)
def test_setting_that_does_not_fit_is_named(given, message):
    with pytest.raises((TypeError, ValueError), match=message):
        Teacher(**{"teacher": Path("a"), **given})


def test_result_depends_on_the_weights_not_on_the_place():
    made = TaskTeacher(teacher=Path("a"), teacher_weight=2).made_with("digest")
    assert made == {"teacher": "digest", "teacher_weight": 2, "teacher_temperature": 1.0}
    assert (Lessons().terms, Lessons().made_with) == ((), {})
