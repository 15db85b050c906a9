"""Where images come from: known data sets by name, or a folder with one subfolder a class.

Small images are held in memory; those of a folder are read when they are asked for.
"""

from __future__ import annotations

import gzip
import logging
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

import nni_bootstrap  # noqa: F401
import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from torch import Tensor
from torchvision import datasets
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2
from tqdm import tqdm

from ...support.files import atomic_file

__all__ = [
    "FolderImages", "ImageSource", "MemoryImages", "check_readable", "open_digits", "open_folder",
    "open_known",
]  # fmt: skip

_logger = logging.getLogger(__name__)

DEBIAN_FASHION_MNIST = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package ``dataset-fashion-mnist`` puts the compressed files."""

Transform = Callable[[Any], Any]
Indices = Sequence[int] | np.ndarray


class ImageSource(Protocol):
    """Images by their index.

    ``labels`` are all labels, ``(n,)``; ``read`` gives some images after a transform, ``(m,
    channels, height, width)`` in ``uint8``, and their labels, ``(m,)``.
    """

    labels: Tensor

    def read(self, indices: Indices, transform: Transform) -> tuple[Tensor, Tensor]: ...


class MemoryImages:
    """Images held in memory.

    Parameters
    ----------
    images
        ``(n, channels, height, width)``, ``uint8``.
    labels
        ``(n,)``.
    """

    def __init__(self, images: Tensor, labels: Tensor) -> None:
        self.images = images
        self.labels = labels

    def read(self, indices: Indices, transform: Transform) -> tuple[Tensor, Tensor]:
        """Give images after a transform that each goes through alone, and their labels."""
        chosen = torch.as_tensor(indices)
        images = self.images[chosen]
        if not isinstance(transform, v2.Identity):
            images = torch.stack([transform(image) for image in images])
        return images, self.labels[chosen]


class FolderImages:
    """Files of images, read when they are asked for.

    Parameters
    ----------
    files
        Paths and labels.
    skip_unreadable
        Leave images out that cannot be read, with a warning that names them. Otherwise the first
        one is an error.

    Attributes
    ----------
    unreadable : Tensor
        Which images could not be read so far, ``(n,)``; processes that load data share it.
    """

    def __init__(self, files: Sequence[tuple[str, int]], *, skip_unreadable: bool) -> None:
        self.paths = np.array([path for path, _ in files])  # no list: workers would copy it
        self.labels = torch.tensor([label for _, label in files])
        self.skip_unreadable = skip_unreadable
        self.unreadable = torch.zeros(len(files), dtype=torch.bool).share_memory_()

    def read(self, indices: Indices, transform: Transform) -> tuple[Tensor, Tensor]:
        """Give images after a transform, and their labels; without those that cannot be read.

        Raises
        ------
        ValueError
            If an image cannot be read and is not to be skipped, or all of them cannot.
        """
        images, kept = [], []
        for index in indices:
            if (image := self._open(index)) is not None:
                images.append(transform(image))
                kept.append(index)
        if not images:
            raise ValueError(
                f"none of {len(indices)} images can be read, such as {self.names()[0]!r}"
            )
        return torch.stack(images), self.labels[torch.as_tensor(kept)]

    def own_resolution(self) -> int | None:
        """Height and width of all images, if they are squares of one size; only heads are read."""
        sizes: set[tuple[int, int]] = set()
        for path in self.paths:
            try:
                with Image.open(str(path)) as image:
                    sizes.add(image.size)
            except Exception:  # whether it is left out is decided when it is read
                continue
            if len(sizes) > 1:
                return None
        [(width, height)] = sizes or {(0, 0)}
        return width if width == height and width else None

    def names(self) -> list[str]:
        """Paths of the images that could not be read so far."""
        return self.paths[self.unreadable.numpy()].tolist()

    def why_unreadable(self, index: int) -> str | None:
        """Read an image; say why it cannot be, and remember it."""
        try:
            default_loader(str(self.paths[index]))
        except Exception as error:  # Pillow raises all kinds, depending on what is broken
            self.unreadable[index] = True
            return str(error)
        return None

    def _open(self, index: int) -> Any:
        if self.unreadable[index]:
            return None
        path = str(self.paths[index])
        try:
            return default_loader(path)
        except Exception as error:  # as above
            if not self.skip_unreadable:
                raise ValueError(
                    f"image {path!r} cannot be read ({error}); pass --skip-unreadable to leave "
                    "such images out"
                ) from error
            self.unreadable[index] = True
            _logger.warning("Image %r cannot be read and is left out: %s", path, error)
            return None


def check_readable(sources: Sequence[FolderImages]) -> None:
    """Read every image, with a bar of the progress where there is a terminal.

    Raises
    ------
    ValueError
        Naming the images that cannot be read, if they are not to be skipped.
    """
    broken: list[str] = []
    with tqdm(desc="Images", total=sum(len(one.paths) for one in sources), disable=None) as bar:
        for source in sources:
            for index, path in enumerate(source.paths):
                if (why := source.why_unreadable(index)) is not None:
                    broken.append(f"{str(path)!r} ({why})")
                bar.update()
    if not broken:
        return
    if not all(source.skip_unreadable for source in sources):
        raise ValueError(
            f"{len(broken)} of {bar.total} images cannot be read: {', '.join(broken)}; pass "
            "--skip-unreadable to leave them out"
        )
    _logger.warning("Images that cannot be read are left out: %s", ", ".join(broken))


def open_digits() -> MemoryImages:
    """The 1,797 handwritten digits of scikit-learn, grey, 8 x 8 pixels."""
    digits: Any = load_digits()
    images = torch.from_numpy(digits.images)[:, None] / 16 * 255
    return MemoryImages(images.round().to(torch.uint8), torch.from_numpy(digits.target))


def open_known(
    name: str, train: bool, root: Path | None, cache: Path, download: bool
) -> MemoryImages:
    """Open Fashion-MNIST, CIFAR-10 or CIFAR-100 with torchvision.

    Parameters
    ----------
    name
        ``fashion_mnist``, ``cifar10`` or ``cifar100``.
    train
        The training set, else the test set.
    root
        Folder in torchvision's layout; by default one in the cache. Without it, Fashion-MNIST is
        also found where Debian's package has put it.
    cache
        Folder for what is unpacked or downloaded.
    download
        Download what is missing.

    Raises
    ------
    FileNotFoundError
        If the data are not there and are not to be downloaded.
    """
    kinds: dict[str, Any] = {
        "fashion_mnist": datasets.FashionMNIST,
        "cifar10": datasets.CIFAR10,
        "cifar100": datasets.CIFAR100,
    }
    if root is None:
        root = cache / "images"
        if name == "fashion_mnist" and not download:
            _unpack_debian(root / "FashionMNIST" / "raw")
    try:
        found = kinds[name](root, train=train, download=download)
    except RuntimeError as error:
        raise FileNotFoundError(
            f"{name} is not in {str(root)!r}: pass --data with a folder in torchvision's layout, "
            "or --download"
        ) from error
    images = torch.as_tensor(found.data)
    images = images[:, None] if images.ndim == 3 else images.permute(0, 3, 1, 2).contiguous()
    return MemoryImages(images, torch.as_tensor(found.targets))


def _unpack_debian(raw: Path) -> None:
    for packed in DEBIAN_FASHION_MNIST.glob("*-ubyte.gz"):
        if not (target := raw / packed.stem).exists():
            with gzip.open(packed) as source, atomic_file(target) as file:
                shutil.copyfileobj(source, file)


def open_folder(
    root: Path, *, skip_unreadable: bool
) -> tuple[FolderImages, FolderImages, list[str]]:
    """Open ``train/`` and ``test/`` or ``val/`` with a subfolder for every class.

    Parameters
    ----------
    root
        The folder of both.
    skip_unreadable
        See :class:`FolderImages`.

    Returns
    -------
    train, test
        The images.
    classes
        Names of the classes, in the order of their labels.

    Raises
    ------
    FileNotFoundError
        If a folder is missing, has no classes, or a class has no images.
    ValueError
        If the classes of the two differ.
    """
    split = next((name for name in ("test", "val") if (root / name).is_dir()), None)
    if split is None or not (root / "train").is_dir():
        raise FileNotFoundError(
            f"{str(root)!r} must have a folder train and a folder test or val, each with a "
            "subfolder for every class"
        )
    train, test = (datasets.ImageFolder(root / name) for name in ("train", split))
    if train.classes != test.classes:
        differing = sorted(set(train.classes) ^ set(test.classes))
        raise ValueError(
            f"train has {len(train.classes)} classes and {split} {len(test.classes)} in "
            f"{str(root)!r}; in one of them only: {', '.join(differing)}"
        )
    opened = [
        FolderImages(folder.samples, skip_unreadable=skip_unreadable) for folder in (train, test)
    ]
    return opened[0], opened[1], train.classes
