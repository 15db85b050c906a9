"""Values of numpy among settings."""

import numpy as np
import pytest

from nni_magic.support.plain import plain_value


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.int64(3), 3), (np.float32(0.5), 0.5), (np.bool_(True), True), (np.str_("a"), "a"),
        (np.float64(0.1), 0.1), (np.arange(2), [0, 1]), ([1, np.int8(2)], [1, 2]),
        ({"a": (np.int64(1),), np.str_("b"): None}, {"a": (1,), "b": None}),
    ],
)  # fmt: skip
def test_values_of_numpy_become_pythons_own(value, expected):
    found = plain_value(value)
    assert found == expected
    assert repr(found) == repr(expected)


@pytest.mark.parametrize("value", [1, "a", None, [1, (2, {"a": 3})], {"a": [1]}, object()])
def test_other_values_stay_the_same_object(value):
    assert plain_value(value) is value
