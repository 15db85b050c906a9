"""Options made from dataclasses: their types, their help, their errors, and whose they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pytest
from jsonargparse import ArgumentParser, Namespace

from nni_magic.programs.fields import Option, own_options, strategy_options
from nni_magic.strategies.registry import METHODS


@dataclass(frozen=True, kw_only=True)
class Basic:
    """Settings of ``all``.

    Parameters
    ----------
    size
        Of the *whole*, see
        :class:`nni_magic.tasks.domain.Domain`.
    quick
        Whether it is.
    """

    size: int = 4
    quick: bool = False


@dataclass(frozen=True, kw_only=True)
class Own(Basic):
    """Settings of one.

    Parameters
    ----------
    folder
        Where it is.
    files, names
        Several of them.
    rate
        The peak; by default none.
    size
        Of the part.
    """

    folder: Path = field(metadata={"positional": True})
    files: tuple[Path, ...] = (Path("a"), Path("b/c"))
    names: Sequence[str] = ("a", "b")
    rate: float | None = None
    size: int = 5
    basic: Basic = Basic()
    found: list[int] = field(default_factory=list)


def option(hint, **more):
    return Option("warmup_steps", hint, "Help", "Group", **more)


@pytest.mark.parametrize(
    ("hint", "kinds", "element"),
    [
        (int, (int,), None),
        (int | None, (int,), None),
        (int | str, (int, str), None),
        (tuple[Path, ...], (tuple[Path, ...],), Path),
        (Sequence[int | str] | None, (Sequence[int | str],), int | str),
        (tuple[str, ...] | str, (tuple[str, ...], str), None),
        (Mapping[str, Any] | None, (Mapping[str, Any],), None),
        (Literal["min", "max"], (Literal["min", "max"],), None),
    ],
)
def test_types_are_those_of_the_hint_without_none(hint, kinds, element):
    assert (option(hint).kinds, option(hint).element) == (kinds, element)


@pytest.mark.parametrize(
    ("hint", "given", "expected"),
    [
        (int, 7.0, 7),
        (int | None, 7.0, 7),
        (int, 7.5, 7.5),  # for jsonargparse to refuse
        (float, 7.0, 7.0),
        (bool, True, True),
        (tuple[int, ...], 3, [3]),
        (tuple[int, ...], (3, 4), [3, 4]),
        (Sequence[str] | None, ["a"], ["a"]),
        (Sequence[str] | None, None, None),
    ],
)
def test_value_of_a_file_or_a_tuner_is_prepared(hint, given, expected):
    prepared = option(hint).prepared(given)
    assert (type(prepared), prepared) == (type(expected), expected)


@pytest.mark.parametrize("value", [1, "yes", None])
def test_switch_takes_true_and_false_alone(value):
    message = f"^warmup_steps is {value!r}; accepted are true and false$"
    with pytest.raises(ValueError, match=message):
        option(bool).prepared(value)


def test_several_values_are_frozen():
    assert option(tuple[int, ...]).frozen([1, 2]) == (1, 2)
    assert option(str).frozen("ab") == "ab"
    assert option(int | None).frozen(None) is None


@pytest.mark.parametrize(
    ("hint", "words"),
    [
        (int | None, "whole numbers"),
        (float, "finite numbers"),
        (int | str, "whole numbers or text"),
        (tuple[Path, ...], "paths"),
        (Sequence[int | str] | None, "whole numbers or text"),
        (Literal["min", "max"], "'min', 'max'"),
        (Mapping[str, Any] | None, "mappings"),
        (complex, "complex objects"),
    ],
)
def test_refusal_names_setting_value_and_what_is_accepted(hint, words):
    refusal = option(hint).refusal("x")
    assert isinstance(refusal, ValueError)
    assert str(refusal) == f"warmup_steps is 'x'; accepted are {words}"


@pytest.mark.parametrize(
    ("hint", "words", "expected"),
    [
        (int, [], {}),
        (int, ["--warmup-steps", "3"], {"warmup_steps": 3}),
        (bool, ["--warmup-steps"], {"warmup_steps": True}),
        (bool, ["--warmup-steps", "false"], {"warmup_steps": False}),
        (tuple[int, ...], ["--warmup-steps", "3", "4"], {"warmup_steps": [3, 4]}),
    ],
)
def test_parser_gives_what_is_given_and_nothing_else(hint, words, expected):
    parser = ArgumentParser(exit_on_error=False)
    option(hint).add_to(parser)
    assert parser.parse_args(words) == Namespace(expected)


@pytest.mark.parametrize(("words", "expected"), [([], {}), (["a"], {"warmup_steps": "a"})])
def test_positional_option_has_no_dashes_and_may_be_left_out(words, expected):
    parser = ArgumentParser(exit_on_error=False)
    option(str, positional=True).add_to(parser)
    assert parser.parse_args(words) == Namespace(expected)


def test_plain_fields_become_options_with_help_from_the_docstrings():
    basic, own = "Settings of all", "Settings of one"
    assert own_options(Own) == {
        "size": Option("size", int, "Of the part (default: 5)", basic),
        "quick": Option("quick", bool, "Whether it is (default: false)", basic),
        "folder": Option("folder", Path, "Where it is.", own, required=True, positional=True),
        "files": Option("files", tuple[Path, ...], "Several of them (default: a b/c)", own),
        "names": Option("names", Sequence[str], "Several of them (default: a b)", own),
        "rate": Option("rate", float | None, "The peak; by default none.", own),
    }
    size = own_options(Basic)["size"].help
    assert size == "Of the *whole*, see nni_magic.tasks.domain.Domain (default: 4)"


def test_strategies_options_are_all_their_settings_once():
    options = strategy_options()
    assert set(options) == {name for row in METHODS.values() for name in row.options}
    assert all(name == option.name for name, option in options.items())
    assert {option.group for option in options.values()} == {"Settings of the strategies"}
    assert not any(option.required or option.positional for option in options.values())


@pytest.mark.parametrize(
    ("name", "hint", "ending"),
    [
        ("mode", Literal["min", "max"] | None, "such as max of val_acc; other names need it."),
        ("metric", str | None, " all loaders together, weighted by batch sizes."),
        ("lazy", bool, " (default: false) [magic_t, magic_at]"),
        ("align_every", int | None, " of them where there are fewer. [magic_a, "
         "magic_at, average_alignment, percentile_anchor]"),
        ("percentile", float, " (default: 0) [percentile_anchor]"),
        ("anchor_candidates", int, " anchor is elected (default: 16 (magic_a, magic_at); "
         "100 (percentile_anchor)) [magic_a, magic_at, percentile_anchor]"),
    ],
)  # fmt: skip
def test_help_of_a_strategies_option_tells_defaults_and_whose_it_is(name, hint, ending):
    option = strategy_options()[name]
    assert option.hint == hint
    assert option.help.endswith(ending)
    assert option.help.count("(default") == ending.count("(default")
    assert option.help.count("[") == ending.count("[")
