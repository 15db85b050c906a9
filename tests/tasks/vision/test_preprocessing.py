"""Images as a classifier's batch: the same as its validation images, and files."""

import numpy as np
import pytest
import torch
from PIL import Image

from nni_magic.tasks.vision.images import prepare
from nni_magic.tasks.vision.preprocessing import ImagePreprocessing

GREY = ImagePreprocessing(
    channels=1, resolution=8, mean=(0.3053,), std=(0.3763,), classes=tuple("0123456789")
)
COLOUR = ImagePreprocessing(
    channels=3, resolution=70, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225),
    classes=("a", "b"),
)  # fmt: skip


def test_digits_are_those_of_the_validation_set():
    data = prepare("digits")
    images, _ = data.validation.__getitems__(range(5))
    raw = data.validation.source.images[torch.as_tensor(data.validation.indices[:5])]
    pictures = [Image.fromarray(image[0].numpy()) for image in raw]
    assert torch.equal(GREY(pictures), images)
    assert torch.equal(GREY(list(raw)), images)
    assert torch.equal(GREY(pictures[0]), images[:1])


def test_photographs_are_those_of_the_validation_set(tmp_path):
    rng, pictures = np.random.default_rng(0), []
    for part in ("train", "test"):
        for label in ("a", "b"):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(4):
                pixels = rng.integers(0, 256, (120, 90, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(tmp_path / part / label / f"{number}.png")
                pictures += [Image.fromarray(pixels)] if part == "test" else []
    data = prepare("imagefolder", root=tmp_path, resolution=70, held_out=0.5)
    images, _ = data.test.__getitems__(range(8))
    assert torch.equal(COLOUR(pictures), images)


@pytest.mark.parametrize("preprocess", [GREY, COLOUR])
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P"])
def test_every_kind_of_picture_gets_the_channels_and_the_size(preprocess, mode):
    image = Image.new("RGB", (90, 120), (10, 20, 30)).convert(mode)
    shape = (1, preprocess.channels, preprocess.resolution, preprocess.resolution)
    assert preprocess(image).shape == shape


def test_files_give_the_same(tmp_path):
    COLOUR.write(tmp_path)
    settings = {"channels": 3, "resolution": 70, "mean": [0.485, 0.456, 0.406],
                "std": [0.229, 0.224, 0.225], "classes": ["a", "b"]}  # fmt: skip
    assert ImagePreprocessing.read(tmp_path, **settings) == COLOUR
    assert COLOUR.num_classes == 2
