"""Settings that mean nothing are refused when they are given, by their name; and nothing else is.

Every settings dataclass is given every nonsense value in every field.
"""

import dataclasses

import pytest

from experiments.faults.meanings import SETTINGS
from experiments.faults.nonsense import bad, campaign


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_every_field_of_every_settings_class_is_in_the_table(row):
    assert {field.name for field in dataclasses.fields(row.make)} == {*row.meanings}


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: row.name)
def test_settings_that_mean_nothing_are_refused_by_name(row):
    assert bad(campaign([row])) == []
