"""A folder of images like CIFAR-10's: noise, of ten classes."""

from itertools import product

import numpy as np
from PIL import Image

__all__ = ["noise"]


def noise(folder):
    rng = np.random.default_rng(0)
    for split, name in product(("train", "test"), "abcdefghij"):
        (folder / split / name).mkdir(parents=True)
        for number in range(14 if split == "train" else 1):
            pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder
