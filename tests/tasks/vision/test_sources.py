"""Where images come from: files of known formats, folders, and images that cannot be read."""

import gzip
import logging
import pickle
import struct

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from nni_magic.tasks.vision import sources as image_sources
from nni_magic.tasks.vision.images import Images, Statistics, as_it_is
from nni_magic.tasks.vision.sources import (
    FolderImages,
    check_readable,
    open_digits,
    open_folder,
    open_known,
)

TO_TENSOR = v2.PILToTensor()


def picture(path, colour, size=(12, 10)):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", size, colour).save(path)


@pytest.fixture
def folder(tmp_path):
    """Two classes, red and blue."""
    for split, n in (("train", 4), ("val", 2)):
        for name, colour in (("blue", (0, 0, 255)), ("red", (255, 0, 0))):
            for number in range(n):
                picture(tmp_path / split / name / f"{number}.png", colour)
    return tmp_path


def idx(array):
    """The format of MNIST's files: type, dimensions, sizes, bytes."""
    head = struct.pack(">HBB", 0, 8, array.ndim) + struct.pack(f">{array.ndim}I", *array.shape)
    return head + array.astype(np.uint8).tobytes()


def write_fashion(folder, n_train=6, n_test=3, pack=False):
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True)
    written = {}
    for part, n in (("train", n_train), ("t10k", n_test)):
        arrays = {"images-idx3": rng.integers(0, 256, (n, 28, 28)), "labels-idx1": np.arange(n)}
        for kind, array in arrays.items():
            name, content = f"{part}-{kind}-ubyte", idx(array)
            (folder / (name + ".gz" * pack)).write_bytes(
                gzip.compress(content) if pack else content
            )
            written[part, kind] = array
    return written


def test_digits_are_those_of_scikit_learn():
    digits = open_digits()
    assert (digits.images.shape, digits.images.dtype) == ((1797, 1, 8, 8), torch.uint8)
    # The first is a zero whose upper row is 0 0 5 13 9 1 0 0 of 16.
    assert digits.images[0, 0, 0].tolist() == [0, 0, 80, 207, 143, 16, 0, 0]
    assert digits.labels[:5].tolist() == [0, 1, 2, 3, 4]


def test_fashion_mnist_in_torchvisions_layout(tmp_path):
    written = write_fashion(tmp_path / "FashionMNIST" / "raw")
    for train, part in ((True, "train"), (False, "t10k")):
        found = open_known("fashion_mnist", train, tmp_path, tmp_path / "cache", False)
        assert found.images.dtype == torch.uint8
        assert np.array_equal(found.images[:, 0], written[part, "images-idx3"])
        assert found.labels.tolist() == list(range(len(found.images)))


def test_fashion_mnist_of_debian_is_unpacked_once(tmp_path, monkeypatch):
    written = write_fashion(tmp_path / "debian", pack=True)
    monkeypatch.setattr(image_sources, "DEBIAN_FASHION_MNIST", tmp_path / "debian")
    cache = tmp_path / "cache"
    found = open_known("fashion_mnist", True, None, cache, False)
    assert np.array_equal(found.images[:, 0], written["train", "images-idx3"])
    monkeypatch.setattr(image_sources.gzip, "open", None)
    again = open_known("fashion_mnist", False, None, cache, False)
    assert np.array_equal(again.images[:, 0], written["t10k", "images-idx3"])


def test_cifar_has_its_colours_first(tmp_path, monkeypatch):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 3, 32, 32)).astype(np.uint8)
    raw = tmp_path / "cifar-10-batches-py"
    raw.mkdir()
    kind = image_sources.datasets.CIFAR10
    monkeypatch.setattr(kind, "_check_integrity", lambda self: True)
    monkeypatch.setattr(kind, "_load_meta", lambda self: None)
    monkeypatch.setattr(kind, "test_list", [["test_batch", ""]])
    record = {"data": pixels.reshape(5, -1), "labels": [3, 1, 4, 1, 5]}
    (raw / "test_batch").write_bytes(pickle.dumps(record))
    found = open_known("cifar10", False, tmp_path, tmp_path, False)
    assert np.array_equal(found.images, pixels)
    assert found.labels.tolist() == [3, 1, 4, 1, 5]


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10", "cifar100"])
def test_missing_data_set_says_what_to_do(name, tmp_path, monkeypatch):
    monkeypatch.setattr(image_sources, "DEBIAN_FASHION_MNIST", tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=rf"{name} is not in '.*': pass --data .*--dow"):
        open_known(name, True, None, tmp_path, False)


def test_folder_gives_images_and_labels_of_its_classes(folder):
    train, test, classes = open_folder(folder, skip_unreadable=False)
    assert (classes, len(train.labels), len(test.labels)) == (["blue", "red"], 8, 4)
    images, labels = train.read([0, 7], TO_TENSOR)
    assert images.shape == (2, 3, 10, 12)
    assert images.amax((2, 3)).tolist() == [[0, 0, 255], [255, 0, 0]]
    assert labels.tolist() == [0, 1]


def test_folder_prefers_test_to_val(folder):
    for name in ("blue", "red"):
        picture(folder / "test" / name / "0.png", (0, 0, 0))
    _, test, _ = open_folder(folder, skip_unreadable=False)
    assert len(test.labels) == 2


def test_class_of_one_part_only_is_named(folder):
    picture(folder / "val" / "green" / "0.png", (0, 255, 0))
    message = r"train has 2 classes and val 3 in '.*'; in one of them only: green"
    with pytest.raises(ValueError, match=message):
        open_folder(folder, skip_unreadable=False)


@pytest.mark.parametrize(
    ("keep", "message"),
    [("train", "must have a folder train and a folder test or val, each with"),
     ("val", "must have a folder train and a folder test or val, each with")],
)  # fmt: skip
def test_missing_part_is_named(folder, keep, message):
    (folder / ("val" if keep == "train" else "train")).rename(folder / "other")
    with pytest.raises(FileNotFoundError, match=message):
        open_folder(folder, skip_unreadable=False)


def test_unreadable_image_is_fatal_and_named(folder):
    broken = folder / "train" / "blue" / "1.png"
    broken.write_bytes(broken.read_bytes()[:40])
    train, _, _ = open_folder(folder, skip_unreadable=False)
    with pytest.raises(ValueError, match=r"image '.*blue/1.png' cannot be read \(.*\); pass --sk"):
        train.read(range(8), TO_TENSOR)


def test_unreadable_image_is_skipped_named_once_and_counted(folder, caplog):
    broken = folder / "train" / "blue" / "1.png"
    broken.write_text("no image")
    train, _, _ = open_folder(folder, skip_unreadable=True)
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            images, labels = train.read(range(8), TO_TENSOR)
            assert (len(images), labels.tolist()) == (7, [0, 0, 0, 1, 1, 1, 1])
    assert [r.message[:40] for r in caplog.records] == [f"Image {str(broken)!r}"[:40]]
    assert train.names() == [str(broken)]


def test_batch_without_any_readable_image_is_an_error(folder):
    broken = folder / "train" / "blue" / "0.png"
    broken.write_text("no image")
    train, _, _ = open_folder(folder, skip_unreadable=True)
    with pytest.raises(ValueError, match=r"none of 1 images can be read, such as '.*blue/0.png'"):
        train.read([0], TO_TENSOR)


def test_unreadable_image_met_by_a_worker_is_known_outside(folder):
    broken = folder / "train" / "red" / "3.png"
    broken.write_text("no image")
    source = FolderImages([(str(p), 0) for p in sorted(folder.glob("train/*/*"))],
                          skip_unreadable=True)  # fmt: skip
    images = Images(source, range(8), TO_TENSOR, Statistics((0.5,) * 3, (0.5,) * 3))
    loader = DataLoader(images, batch_size=4, num_workers=1, collate_fn=as_it_is)
    assert [len(labels) for _, labels in loader] == [4, 3]
    assert images.unreadable == [str(broken)]


def break_two(folder):
    broken = [folder / "train" / "blue" / "1.png", folder / "val" / "red" / "0.png"]
    for path in broken:
        path.write_text("no image")
    return list(map(str, broken))


def test_all_unreadable_images_are_named_on_request(folder):
    one, other = break_two(folder)
    message = (
        rf"2 of 12 images cannot be read: '{one}' \(.+\), '{other}' \(.+\); pass --skip-unreadable"
    )
    with pytest.raises(ValueError, match=message):
        check_readable(open_folder(folder, skip_unreadable=False)[:2])


def test_unreadable_images_are_found_and_left_out_on_request(folder, caplog):
    broken = break_two(folder)
    parts = open_folder(folder, skip_unreadable=True)[:2]
    with caplog.at_level(logging.WARNING):
        check_readable(parts)
    assert [name for part in parts for name in part.names()] == broken
    assert len(caplog.records) == 1 and all(name in caplog.text for name in broken)
    assert len(parts[0].read(range(8), TO_TENSOR)[0]) == 7


def test_readable_images_are_no_error(folder):
    parts = open_folder(folder, skip_unreadable=False)[:2]
    check_readable(parts)
    assert not any(part.names() for part in parts)
