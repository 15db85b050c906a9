"""The model spaces of NNI's hub, on a small scale: ``(batch, 3, 32, 32)`` to ``(batch, 10)``."""

from functools import partial

from nni.nas.hub.pytorch import (
    DARTS,
    ENAS,
    PNAS,
    AmoebaNet,
    AutoFormer,
    MobileNetV3Space,
    NasBench101,
    NasBench201,
    NASNet,
    ProxylessNAS,
    ShuffleNetSpace,
)
from spaces import small_mobilenet

CELLS = {space.__name__: space for space in (DARTS, ENAS, PNAS, NASNet, AmoebaNet)}
REFUSED = {"NasBench101": partial(NasBench101, 8, num_stacks=2, num_modules_per_stack=1)}
"""Spaces that NNI itself makes no supernet of."""
HUB = {
    "ProxylessNAS": partial(ProxylessNAS, 10, width_mult=0.25),
    MobileNetV3Space.__name__: small_mobilenet,
    "ShuffleNetSpace": partial(ShuffleNetSpace, 10),
    "NasBench201": partial(NasBench201, 4, num_modules_per_stack=1),
    "AutoFormer": partial(
        AutoFormer, (16, 24), (2.0, 4.0), (2, 4), (1, 2), img_size=32, patch_size=8, num_labels=10
    ),
    **{name: partial(space, width=4, num_cells=3) for name, space in CELLS.items()},
}
"""Name to what makes the space, without arguments."""
VARIABLE_CELLS = {
    name: partial(space, width=(4, 8), num_cells=(3, 6)) for name, space in CELLS.items()
}
"""The cell spaces with a choice of widths and of depths."""
