"""Files with a digest: what is damaged or runs code is refused by name."""

import io
import random
import tempfile
import zipfile

import numpy as np
import pytest
import torch
from torch.serialization import get_crc32_options, set_crc32_options

from nni_magic.supernet.sealed import check_seal, load_plain, save_sealed


def empty():
    return tempfile.TemporaryFile()


def sealed(value):
    file = empty()
    save_sealed(value, file, "a")
    file.seek(0)
    return file


def written(content):
    file = empty()
    file.write(content)
    return file


def content(file):
    file.seek(0)
    return file.read()


def plain():
    generator = torch.Generator().manual_seed(0)
    return {"w": torch.randn(40, 50, generator=generator), "steps": [1, 2.5, "x", None]}


def test_value_is_read_back_by_us_and_by_torch(tmp_path):
    file = sealed(plain())
    (tmp_path / "a").write_bytes(content(file))
    check_seal(file, "a")
    for found in (load_plain(file, "a", "cpu"), torch.load(tmp_path / "a", weights_only=True)):
        assert torch.equal(found["w"], plain()["w"])
        assert found["steps"] == plain()["steps"]


def test_every_flipped_bit_is_refused():
    whole = content(sealed(plain()))
    draw = random.Random(0)
    for position in [*range(len(whole) - 120, len(whole)), *draw.sample(range(len(whole)), 200)]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << draw.randrange(8)
        with pytest.raises(ValueError, match=r"a.ckpt cannot be read: it is cut off or damaged"):
            check_seal(written(damaged), "a.ckpt")


def test_every_truncation_is_refused():
    whole = content(sealed(plain()))
    draw = random.Random(0)
    for length in [0, 1, 21, 22, len(whole) - 1, *draw.sample(range(len(whole)), 200)]:
        with pytest.raises(ValueError, match=r"a.ckpt cannot be read: it is cut off or damaged"):
            check_seal(written(whole[:length]), "a.ckpt")


def test_file_without_digest_is_held_to_the_checksums_of_its_archive():
    torch.save(plain(), file := io.BytesIO())
    check_seal(file, "a")
    damaged = bytearray(file.getvalue())
    damaged[damaged.index(plain()["w"].numpy().tobytes()) + 5] ^= 1
    with pytest.raises(ValueError, match="cannot be read: it is cut off or damaged"):
        check_seal(written(damaged), "a")


@pytest.mark.parametrize(
    "value", [np.float32(3), np.int64(4), np.bool_(True), np.arange(3), np.array(["a", "b"])]
)
def test_numpy_is_read_back(value):
    file = sealed({"value": value})
    file.seek(0)
    found = load_plain(file, "a", "cpu")["value"]
    assert type(found) is type(value)
    assert np.array_equal(found, value)


class Counter:
    """Stands for any object of an evaluator."""


def test_place_of_what_could_not_be_read_is_named_when_it_is_written():
    value = {"callbacks": {"Mine": [1, Counter()]}}
    with pytest.raises(ValueError, match=r"^a\['callbacks'\]\['Mine'\]\[1\] is a \S+Counter, whic"):
        sealed(value)


def test_object_is_named_when_it_is_read():
    with pytest.raises(ValueError, match=r"^a holds a \S+Counter, which is not read, as it could"):
        torch.save({"value": Counter()}, file := io.BytesIO())
        load_plain(file, "a", "cpu")


def test_full_disk_is_named_by_the_system_and_not_as_a_position():
    with pytest.raises(OSError, match="No space"), open("/dev/full", "wb") as full:
        save_sealed(plain(), full, "a")


def test_what_cannot_be_pickled_is_named_when_it_is_written():
    with pytest.raises(ValueError, match=r"a cannot be written: .*lambda"):
        sealed({"value": lambda: 0})


def test_text_that_looks_like_a_type_is_written():
    value = {"text": "c os\nsystem\ncos\nsystem\n"}
    assert load_plain(sealed(value), "a", "cpu") == value


def test_archive_is_valid_for_other_programs_even_if_torch_is_told_to_leave_checksums_out():
    before = get_crc32_options()
    set_crc32_options(False)
    try:
        file = sealed(plain())
        assert get_crc32_options() is False  # as the caller had it
    finally:
        set_crc32_options(before)
    assert zipfile.ZipFile(file).testzip() is None
