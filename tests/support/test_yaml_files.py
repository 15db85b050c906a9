"""Settings in YAML files: all that is written counts, or is refused with the file's name."""

import pytest

from nni_magic.support.yaml_files import read_settings


def test_settings_are_read(tmp_path):
    (path := tmp_path / "a.yml").write_text("k: 2\nspace: {n: [1, 2]}\n")
    assert read_settings("config", path) == {"k": 2, "space": {"n": [1, 2]}}


def test_merged_keys_may_be_written_again(tmp_path):
    (path := tmp_path / "a.yml").write_text("a: &a {x: 1, y: 2}\nb:\n  <<: *a\n  y: 3\n")
    assert read_settings("config", path)["b"] == {"x": 1, "y": 3}


@pytest.mark.parametrize(("text", "message"), [
    ("k: 1\nlazy: true\nk: 2", "and it is none: key 'k' is there twice"),
    ("space:\n  a: 1\n  a: 1", "and it is none: key 'a' is there twice"),
    ("a: [", "and it is none: while parsing"),
    ("a: 2020-13-45", "and it is none: month must be in 1..12"),
    ("!!python/name:os.system", "and it is none: could not determine a constructor"),
    ("", "and it holds None"),
    ("[1]", r"and it holds \[1\]"),
])  # fmt: skip
def test_what_is_wrong_is_named_with_the_file(text, message, tmp_path):
    (path := tmp_path / "a.yml").write_text(text)
    with pytest.raises(ValueError, match=rf"config is '.*a.yml'; accepted is .*, {message}"):
        read_settings("config", path)


def test_file_that_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"config is '.*'; accepted is a YAML file of sett"):
        read_settings("config", tmp_path)
