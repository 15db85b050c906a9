"""BatchNorm statistics of a child: taken anew with the weights that it inherits.

The running statistics of a supernet are an average over all children that it trained, and fit
none of them. So a child's are taken on a few batches before it is scored, as SPOS, Once-for-All
and BigNAS do [Guo2020, Cai2020, Yu2020]: plain averages over the batches, in training mode as far
as normalisation goes, with dropout off.

[Guo2020] Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling.
[Cai2020] Cai et al., Once-for-All: Train One Network and Specialize It for Efficient Deployment.
[Yu2020] Yu et al., BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from typing import Any

import torch
from nni.nas.oneshot.pytorch.supermodule.operation import MixedOperation
from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm

__all__ = ["Calibration", "tracking_norms"]


def tracking_norms(modules: Iterable[nn.Module]) -> list[_NormBase]:
    """BatchNorm modules with running statistics, inside of these modules."""
    found = {id(m): m for root in modules for m in root.modules()}
    return [
        module
        for module in found.values()
        if isinstance(module, _NormBase)
        and not isinstance(module, _InstanceNorm)
        and module.running_mean is not None
    ]


class Calibration:
    """Statistics of some norms while a child is evaluated; the supernet's own are kept aside.

    ::

        with Calibration(norms) as calibration:
            for i, batch in enumerate(batches):
                with calibration.batch(i):
                    model(batch)         # normalises by the batch, averages its statistics
            model(held_out)              # normalises by the averages
    """

    def __init__(self, norms: Iterable[_NormBase]) -> None:
        self.norms = list(norms)

    def __enter__(self) -> Calibration:
        # Other buffers are put in place and the supernet's not written, so that neither their
        # content nor torch's count of changes tells that something was evaluated. All goes to
        # __dict__: Module.__setattr__ is slow, and a supernet has many norms.
        self._own: list[dict[str, Any]] = []
        for norm in self.norms:
            self._own.append(dict(norm.__dict__))
            fresh = {
                "running_mean": torch.zeros_like(norm.running_mean),  # type: ignore[arg-type]
                "running_var": torch.ones_like(norm.running_var),  # type: ignore[arg-type]
                "num_batches_tracked": torch.zeros_like(norm.num_batches_tracked),  # type: ignore[arg-type]
            }
            norm.__dict__["_buffers"] = {**norm._buffers, **fresh}
        return self

    def __exit__(self, *exception: object) -> None:
        for norm, own in zip(self.norms, self._own, strict=True):
            norm.__dict__.clear()
            norm.__dict__.update(own)

    @contextlib.contextmanager
    def batch(self, index: int) -> Iterator[None]:
        """Take the statistics of batch ``index``, counted from 0, into the averages."""
        for norm in self.norms:
            # A momentum of 1/n is the plain average; None would mean the same, but NNI's
            # BatchNorm of variable width does not take it. That one asks for it by a method.
            norm.__dict__.update(training=True, momentum=1 / (index + 1))
            if isinstance(norm, MixedOperation):
                norm.__dict__["forward_argument"] = partial(_argument, norm)
        try:
            yield
        finally:
            for norm in self.norms:
                norm.__dict__["training"] = False


def _argument(norm: Any, name: str) -> Any:
    return norm.momentum if name == "momentum" else type(norm).forward_argument(norm, name)
