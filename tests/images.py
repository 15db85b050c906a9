"""A small child of images, and the folder that an export writes."""

import torch
from nni.nas.space import model_context

from nni_magic.export import export_child
from nni_magic.tasks.vision.preprocessing import ImagePreprocessing
from search_spaces import ProxylessNASSpace

SAMPLE = {f"block_{n}": name for n, name in enumerate(("mb3_3x3", "mb6_5x5"), start=1)}
PREPROCESSING = ImagePreprocessing(
    channels=1, resolution=8, mean=(0.5,), std=(0.25,), classes=tuple("0123456789")
)
SIZES = {
    "stages": [[8, 2, 1]], "resolution": 8, "n_classes": 10, "in_channels": 1, "stem_channels": 8,
    "stem_stride": 1, "first_channels": 8, "head_channels": 16,
    "candidates": ["mb3_3x3", "mb6_5x5"],
}  # fmt: skip


def child():
    """A child whose weights and BatchNorm statistics are not the initial ones."""
    torch.manual_seed(0)
    with model_context(SAMPLE):
        made = ProxylessNASSpace(**SIZES)
    with torch.no_grad():
        for _ in range(20):
            made(torch.randn(8, 1, 8, 8))
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return made.eval().requires_grad_(False)


def exported(folder, **options):
    """Write the child, by default without programs; gives it and its folder."""
    options = {"formats": (), "metric": "val_loss", "provenance": {"seed": 3},
               "beside": PREPROCESSING.write, **options}  # fmt: skip
    made = child()
    return made, export_child(
        made, SAMPLE, 0.5, folder, space=ProxylessNASSpace(**SIZES),
        args=[torch.ones(2, 1, 8, 8)], **options,
    )  # fmt: skip
