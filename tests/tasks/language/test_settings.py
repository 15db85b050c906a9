"""Settings of text: names, ranges, other data."""

from pathlib import Path
from typing import get_args

import pytest

from nni_magic.tasks.language.mlm import OPTIMIZERS
from nni_magic.tasks.language.settings import BertPreset, BertSettings, Optimizer
from search_spaces.bert import PRESETS


def test_names_are_those_of_the_space_and_of_the_optimizers():
    assert get_args(BertPreset) == tuple(PRESETS)
    assert get_args(Optimizer) == tuple(OPTIMIZERS)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"preset": "huge"}, "preset is 'huge'; accepted are 'base', 'compression', 'analysis',"),
        ({"optimizer": "sgd"}, "optimizer is 'sgd'; accepted are 'adam', 'adamw'"),
        ({"dropout": 1.0}, "dropout is 1.0; accepted are finite numbers of at least 0 and below"),
        ({"corpus": ()}, r"corpus is \(\); accepted are one or more of sotu, PATH and hf:NAME"),
    ],
)
def test_wrong_setting_is_named(given, message):
    with pytest.raises(ValueError, match=message):
        BertSettings(**given)


def test_other_data_are_a_file_or_folder():
    assert BertSettings().with_data(Path("a/b.txt")).corpus == ("a/b.txt",)
