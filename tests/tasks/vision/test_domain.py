"""Domains of images: what they record, their digest, their evaluators and test data."""

import hashlib
import json

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from nni_magic.tasks.vision.domain import ImageDomain
from nni_magic.tasks.vision.settings import ImageSettings


class AnySpace(ImageDomain):
    """Images for whatever space."""

    settings_type = ImageSettings

    def make_space(self):
        raise NotImplementedError


def domain(**settings):
    return AnySpace(ImageSettings(**settings))


@pytest.fixture(scope="module")
def digits():
    return domain(batch_size=50, held_out=0.2, label_smoothing=0.3, channels_last=True)


def write(root, broken=False):
    """A folder of two classes, three images in each of its parts' classes."""
    for split in ("train", "test"):
        for label, name in enumerate(("a", "b")):
            (root / split / name).mkdir(parents=True)
            for number in range(3):
                pixels = np.full((70, 70, 3), 60 * label + number, dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    if broken:
        (root / "test" / "b" / "2.png").write_text("no image")
    return root


def folder(root, **settings):
    return domain(dataset="imagefolder", data=root, held_out=0.4, **settings)


def test_data_are_those_of_the_settings(digits):
    data = digits.data
    # 1,797 digits, 360 of which are the test set; a fifth of the rest, rounded up, is held out.
    assert [len(data.train), len(data.validation), len(data.test)] == [1149, 288, 360]
    assert digits.data is data
    assert domain(resolution=16).data.resolution == 16


def test_description_counts_classes_and_images(digits):
    found = digits.describe()
    sizes = {"train": 1149, "validation": 288, "test": 360}
    assert {**found, "images_digest": None} == {
        "dataset": "digits", "classes": 10, "images": sizes, "images_digest": None,
        "unreadable": [],
    }  # fmt: skip
    assert digits.data_settings() == {k: v for k, v in found.items() if k != "unreadable"}


def test_example_is_two_images(digits):
    assert digits.example().shape == (2, 1, 8, 8)
    assert domain(resolution=12).example().shape == (2, 1, 12, 12)


def test_digest_in_memory_is_of_pixels_and_labels(digits):
    raw = load_digits()
    pixels = np.round(raw.images / 16 * 255).astype(np.uint8)
    content = hashlib.sha256()
    for part in (digits.data.train, digits.data.test):
        # Which of scikit-learn's images a part is made of, found by their pixels.
        rows = {image.tobytes(): n for n, image in enumerate(pixels)}
        chosen = [rows[image.numpy().tobytes()] for image in part.source.images]
        content.update(pixels[chosen].tobytes() + raw.target[chosen].astype(np.int64).tobytes())
    assert digits.images_digest == content.hexdigest()[:16]


def test_digest_of_files_is_of_paths_in_the_folder_and_sizes(tmp_path):
    root = write(tmp_path / "one")
    lines = []
    for split in ("train", "test"):
        for name in ("a", "b"):
            for number in range(3):
                size = len((root / split / name / f"{number}.png").read_bytes())
                lines.append(f"/{split}/{name}/{number}.png {size}\n")
    expected = hashlib.sha256("".join(lines).encode()).hexdigest()[:16]
    assert folder(root).images_digest == expected
    assert folder(write(tmp_path / "elsewhere")).images_digest == expected
    assert folder(write(tmp_path / "broken", broken=True)).images_digest != expected


def test_file_behind_a_broken_link_has_no_size(tmp_path):
    digests = []
    for target in ("gone", "lost"):
        root = write(tmp_path / target)
        path = root / "train" / "a" / "0.png"
        path.unlink()
        path.symlink_to(tmp_path / "nowhere" / target)
        digests.append(folder(root).images_digest)
    assert digests[0] == digests[1] != folder(write(tmp_path / "whole")).images_digest


def test_unreadable_images_are_described_and_change_no_result(tmp_path):
    made = folder(write(tmp_path, broken=True), resolution=70, skip_unreadable=True, batch_size=4)
    before, settings = made.describe(), made.data_settings()
    assert before["unreadable"] == []
    assert [len(labels) for _, labels in made.test_data()] == [4, 1]
    assert made.describe()["unreadable"] == [str(tmp_path / "test" / "b" / "2.png")]
    assert made.data_settings() == settings


def test_evaluators_have_the_settings_of_the_domain(digits):
    trainer = {"logger": False, "enable_checkpointing": False, "accelerator": "cpu"}
    training = digits.evaluator(total_steps=7, batch_size=30, trainer_kwargs=trainer)
    assert (training.module.label_smoothing, training.module.channels_last) == (0.3, True)
    assert training.module.n_classes == 10
    assert training.trainer.max_steps == 7
    images, labels = next(iter(training.train_dataloaders))
    assert (images.shape, labels.shape) == ((30, 1, 8, 8), (30,))
    searching = digits.search_evaluator(batch_size=100, trainer_kwargs=trainer)
    assert searching.module.channels_last
    sizes = [len(labels) for _, labels in searching.val_dataloaders]
    assert sizes == [100, 100, 88]


def test_test_data_are_the_test_set_in_order(digits):
    batches = list(digits.test_data())
    assert [len(labels) for _, labels in batches] == [50] * 7 + [10]
    found = torch.cat([images for images, _ in batches])
    expected = (digits.data.test.source.images / 255 - 0.3053) / 0.3763
    assert torch.allclose(found, expected, atol=1e-6)


def test_torchvision_is_among_the_versions(digits):
    assert list(digits.versions())[-1] == "torchvision"
    assert (digits.row, digits.accuracy, digits.loss) == ("image", "val_acc", "val_loss")


def test_exports_carry_the_transforms_and_the_classes(digits, tmp_path):
    options = digits.export_options()
    assert options["args"][0].shape == (2, 1, 8, 8)
    options["beside"](tmp_path)
    settings = json.loads((tmp_path / "preprocessing.json").read_text())
    assert settings == {
        "kind": "images", "channels": 1, "resolution": 8, "mean": [0.3053], "std": [0.3763],
        "classes": list("0123456789"),
    }  # fmt: skip
