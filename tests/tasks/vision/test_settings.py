"""Settings of images: names, ranges, the budget, other data."""

from pathlib import Path
from typing import get_args

import pytest

from nni_magic.tasks.vision.images import NAMES
from nni_magic.tasks.vision.settings import (
    Dataset,
    ImageSettings,
    ProxylessPreset,
    ProxylessSettings,
    multiply_adds,
)
from search_spaces.proxylessnas import PRESETS


def test_names_are_those_of_the_space_and_of_the_data_sets():
    assert get_args(ProxylessPreset) == tuple(PRESETS)
    assert get_args(Dataset) == NAMES


@pytest.mark.parametrize(
    ("text", "expected"),
    [("600M", 6e8), ("1.5G", 1.5e9), ("200k", 2e5), ("100%", 30), ("25%", 15)],
)
def test_budget_is_read(text, expected):
    assert multiply_adds(text, 10, 30) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "huge"}, "preset is 'huge'; accepted are 'imagenet', 'cifar', 'tiny'"),
        ({"dataset": "mnist"}, "dataset is 'mnist'; accepted are 'digits', 'fashion_mnist'"),
        ({"budget": "1e6"}, "budget is '1e6'; accepted are figures above 0 such as 600M, 1.5G"),
        ({"budget": "0%"}, "budget is '0%'; accepted are figures above 0 such as 600M, 1.5G and"),
        ({"budget": 60}, "budget is 60; accepted are figures above 0 such as 600M, 1.5G and 60%"),
        ({"held_out": 1.0}, "held_out is 1.0; accepted are finite numbers above 0 and below 1"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0; accepted are finite numbers of at"),
        ({"dropout": -0.1}, "dropout is -0.1; accepted are finite numbers of at least 0 and bel"),
        ({"width": 0.0}, "width is 0.0; accepted are finite numbers above 0"),
        ({"resolution": 0}, "resolution is 0; accepted are whole numbers of at least 1"),
    ],
)
def test_wrong_setting_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        ProxylessSettings(**given)


def test_other_data_are_a_folder_unless_they_come_with_a_library():
    made = ImageSettings(dataset="imagefolder").with_data(Path("mine"))
    assert made.data == Path("mine")
    with pytest.raises(ValueError, match=r"data is 'mine', but dataset is 'digits', .*imagefolder"):
        ImageSettings().with_data(Path("mine"))
