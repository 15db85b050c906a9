"""Spaces whose children others have trained on CIFAR-10, with the results in a table."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from nni_magic.tasks.vision import images
from nni_magic.tasks.vision.domain import ImageDomain
from nni_magic.tasks.vision.settings import Dataset, ImageSettings

__all__ = ["N_CLASSES", "PublishedOnCifar10", "PublishedSettings", "table_file"]

N_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class PublishedSettings(ImageSettings):
    """Settings of the images of CIFAR-10 in a folder, beside the table."""

    dataset: Dataset = "imagefolder"
    resolution: int | None = 32


class PublishedOnCifar10(ImageDomain):
    """A space whose children's results on CIFAR-10 are in a table beside the images.

    The folder of the data holds ``train/`` and ``test/`` with a folder for every class, and the
    table.
    """

    settings_type = PublishedSettings
    trains_children = False
    table_name: ClassVar[str]
    """File of the table; it may be compressed."""

    @abstractmethod
    def read_table(self, folder: Path) -> Any:
        """Read the table of the benchmark."""

    def load(self) -> images.ImageData:
        """Load images and table.

        Raises
        ------
        FileNotFoundError
            If there is no table.
        ValueError
            If the table is not as expected, or the images are not of ten classes, as CIFAR-10's,
            with which the benchmark was made.
        """
        if self.settings.dataset != "imagefolder" or self.settings.data is None:
            raise ValueError(
                f"dataset is {self.settings.dataset!r} and data {self.settings.data!r}; accepted "
                f"is 'imagefolder' with the folder of CIFAR-10's images and {self.table_name!r}"
            )
        self.table = self.read_table(self.settings.data)
        data = super().load()
        if len(data.classes) != N_CLASSES:
            raise ValueError(
                f"{str(self.settings.data)!r} has {len(data.classes)} classes of images; "
                f"CIFAR-10, with which the benchmark was made, has {N_CLASSES}"
            )
        return data


def table_file(folder: Path, name: str) -> Path:
    """Find a table, plain or compressed (``.xz``, ``.gz``).

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    """
    for end in ("", ".xz", ".gz"):
        if (path := folder / f"{name}{end}").exists():
            return path
    raise FileNotFoundError(f"data is {str(folder)!r}; accepted is a folder with {name!r}")
