"""Data sets by name: parts that share nothing, augmented in training only."""

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import v2

from nni_magic.tasks.vision import images
from nni_magic.tasks.vision.images import STATISTICS, as_it_is, prepare, stratified
from nni_magic.tasks.vision.sources import MemoryImages, open_digits


@pytest.fixture(scope="module")
def digits():
    return prepare("digits", held_out=0.1)


@pytest.fixture
def folder(tmp_path):
    """Noise of two classes, 40 x 30 pixels."""
    rng = np.random.default_rng(0)
    for split in ("train", "test"):
        for name in ("a", "b"):
            (tmp_path / split / name).mkdir(parents=True)
            for number in range(6):
                pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / split / name / f"{number}.png")
    return tmp_path


def raw(part):
    """What the images of a part were made from, as a set."""
    chosen = part.source.images[torch.as_tensor(part.indices)]
    return {image.numpy().tobytes() for image in chosen}


def test_parts_share_no_image_and_every_class_has_its_share(digits):
    parts = (digits.train, digits.validation, digits.test)
    assert [len(part) for part in parts] == [1293, 144, 360]
    assert [len(raw(part)) for part in parts] == [1293, 144, 360]
    assert len(set.union(*map(raw, parts))) == 1797
    for part in parts:
        shares = torch.bincount(part.labels, minlength=10) / len(part)
        everywhere = torch.bincount(open_digits().labels) / 1797
        assert (shares - everywhere).abs().max() < 0.01
    assert digits.classes == tuple("0123456789")
    assert (digits.channels, digits.resolution, digits.unreadable) == (1, 8, [])


def test_test_set_stays_whatever_is_held_out(digits):
    other = prepare("digits", held_out=0.3, seed=5)
    assert raw(other.test) == raw(digits.test)
    assert raw(other.validation) != raw(digits.validation)


def test_split_follows_its_seed_and_first_images_are_of_many_classes(digits):
    labels = open_digits().labels
    first, again, other = (stratified(labels, 0.1, seed) for seed in (1, 1, 2))
    assert all(map(np.array_equal, first, again))
    assert not np.array_equal(first[1], other[1])
    assert len(digits.validation.labels[:64].unique()) == 10


def test_training_images_have_the_statistics_given(digits):
    pixels = digits.train.source.images / 255
    assert STATISTICS["digits"].mean == (pytest.approx(pixels.mean().item(), abs=1e-3),)
    assert STATISTICS["digits"].std == (pytest.approx(pixels.std().item(), abs=1e-3),)
    batch, _ = digits.validation.__getitems__(range(144))
    assert abs(batch.mean()) < 0.05
    assert abs(batch.std() - 1) < 0.05


def test_digits_are_shifted_by_a_pixel_at_most_and_in_training_only(digits):
    whole = digits.train.source.images[digits.train.indices[0], 0]
    padded = torch.nn.functional.pad(whole, (1, 1, 1, 1))
    shifts = {padded[y : y + 8, x : x + 8].numpy().tobytes() for y in range(3) for x in range(3)}
    torch.manual_seed(0)
    drawn = {digits.train.transform(whole[None]).numpy().tobytes() for _ in range(60)}
    assert drawn == shifts
    assert torch.equal(digits.validation[0][0], digits.validation[0][0])


def test_natural_images_are_also_mirrored():
    _, augment = images._transforms("cifar10", 32)
    ramp = torch.arange(32, dtype=torch.uint8).expand(3, 32, 32)
    torch.manual_seed(0)
    middle = [augment(ramp)[0, 16] for _ in range(20)]
    assert {bool(row[20] > row[12]) for row in middle} == {True, False}


@pytest.mark.parametrize("resolution", [8, 96])
def test_digits_are_not_mirrored(resolution):
    _, augment = images._transforms("digits", resolution)
    assert not any(isinstance(each, v2.RandomHorizontalFlip) for each in augment.transforms)


def test_large_folder_is_cropped_to_the_resolution(folder):
    data = prepare("imagefolder", root=folder, held_out=0.25, resolution=96)
    assert [len(p) for p in (data.train, data.validation, data.test)] == [9, 3, 12]
    assert (data.classes, data.channels, data.resolution) == (("a", "b"), 3, 96)
    loader = DataLoader(data.train, batch_size=9, collate_fn=as_it_is)
    [(batch, labels)] = loader
    assert (batch.shape, batch.dtype, labels.shape) == ((9, 3, 96, 96), torch.float32, (9,))
    plain = data.test[0][0]
    assert plain.shape == (3, 96, 96)
    assert torch.equal(plain, data.test[0][0])


def test_default_resolution_of_a_folder_is_that_of_its_square_images(folder):
    for path in folder.rglob("*.png"):
        Image.open(path).resize((32, 32)).save(path)
    (folder / "train" / "a" / "2.png").write_text("no image")
    data = prepare("imagefolder", root=folder, held_out=0.3, skip_unreadable=True)
    assert (data.resolution, data.validation[0][0].shape) == (32, (3, 32, 32))


@pytest.mark.parametrize("size", [(40, 30), (32, 32)])
def test_default_resolution_of_other_folders_is_that_of_imagenet(folder, size):
    path = folder / "train" / "b" / "5.png"
    Image.open(path).resize(size).save(path)
    data = prepare("imagefolder", root=folder, held_out=0.25)
    assert data.validation[0][0].shape == (3, 224, 224)


def test_folder_is_read_at_the_start_on_request_alone(folder):
    (folder / "test" / "b" / "0.png").write_text("no image")
    prepare("imagefolder", root=folder, held_out=0.3, resolution=96)
    with pytest.raises(ValueError, match=r"1 of \d+ images cannot be read: '.*test/b/0.png'"):
        prepare("imagefolder", root=folder, held_out=0.3, resolution=96, check_images=True)


def test_small_folder_is_read_once_into_memory(folder):
    (folder / "train" / "a" / "2.png").write_text("no image")
    data = prepare("imagefolder", root=folder, held_out=0.3, resolution=24, skip_unreadable=True)
    assert isinstance(data.train.source, MemoryImages)
    assert len(data.train) + len(data.validation) == 11
    assert data.train.source.labels.tolist() == [0] * 5 + [1] * 6
    assert data.unreadable == [str(folder / "train" / "a" / "2.png")]
    assert data.train[0][0].shape == data.test[0][0].shape == (3, 24, 24)


def test_images_in_memory_take_another_resolution():
    data = prepare("digits", resolution=16)
    assert (data.resolution, data.train[0][0].shape) == (16, (1, 16, 16))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"name": "mnist"}, "dataset is 'mnist'; accepted are 'digits', 'fashion_mnist', 'cif"),
        ({"name": "imagefolder"}, "data is None; accepted is a folder with train and"),
        ({"held_out": 0}, "held_out is 0; accepted are finite numbers above 0 and below 1"),
        ({"held_out": 0.001}, r"held_out is 0.001 of 1437 images of 10 classes, and both parts"),
        ({"resolution": 0}, "resolution is 0; accepted are whole numbers of at least 1"),
    ],
)
def test_wrong_setting_is_named(settings, message):
    with pytest.raises(ValueError, match=message):
        prepare(**{"name": "digits", **settings})
