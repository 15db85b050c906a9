"""BatchNorm statistics of a child: taken anew with the weights that it inherits.

The running statistics of a supernet are an average over all children that it trained, and fit
none of them. So a child's are taken on a few batches before it is scored or exported, as SPOS,
Once-for-All and BigNAS do [Guo2020, Cai2020, Yu2020]: plain averages over the batches, in training
mode as far as normalisation goes, with dropout off. A norm that a child runs several times has
one set of statistics, the plain average over all its calls in all batches.

[Guo2020] Guo et al., Single Path One-Shot Neural Architecture Search with Uniform Sampling.
[Cai2020] Cai et al., Once-for-All: Train One Network and Specialize It for Efficient Deployment.
[Yu2020] Yu et al., BigNAS: Scaling Up Neural Architecture Search with Big Single-Stage Models.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import torch
from nni.nas.oneshot.pytorch.supermodule.operation import MixedOperation
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.utils._pytree import tree_map

from ..support.errors import check_count
from .by_hand import gradients_kept
from .connection import on_device
from .evaluator_steps import training_call
from .hidden_states import Call
from .loaders import TRAINING, batches_anew, combined
from .stages import in_training

__all__ = ["Calibrator", "Statistics", "tracking_norms"]


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


class Statistics:
    """Statistics of some norms, in place of the supernet's own while a block runs.

    ::

        statistics = Statistics(norms)
        with statistics:
            with statistics.taken():
                for batch in batches:
                    model(batch)         # normalises by the batch, averages its statistics
            model(held_out)              # normalises by the averages
        model(held_out)                  # by the supernet's; ``with statistics`` again by these
    """

    def __init__(self, norms: Iterable[_NormBase]) -> None:
        self.norms = list(norms)
        self._fresh = [
            {
                "running_mean": torch.zeros_like(norm.running_mean),  # type: ignore[arg-type]
                "running_var": torch.ones_like(norm.running_var),  # type: ignore[arg-type]
                "num_batches_tracked": torch.zeros_like(norm.num_batches_tracked),  # type: ignore[arg-type]
            }
            for norm in self.norms
        ]

    def __enter__(self) -> Statistics:
        # Other buffers are put in place and the supernet's not written, so that neither their
        # content nor torch's count of changes tells that something was evaluated. All goes to
        # __dict__: Module.__setattr__ is slow, and a supernet has many norms.
        self._own: list[dict[str, Any]] = []
        for norm, fresh in zip(self.norms, self._fresh, strict=True):
            self._own.append(norm._buffers)
            norm.__dict__["_buffers"] = {**norm._buffers, **fresh}
        return self

    def __exit__(self, *exception: object) -> None:
        for norm, own in zip(self.norms, self._own, strict=True):
            norm.__dict__["_buffers"] = own

    @contextlib.contextmanager
    def taken(self) -> Iterator[None]:
        """Take the statistics of all calls of the norms into the averages while the block runs."""
        before = [dict(norm.__dict__) for norm in self.norms]
        for norm in self.norms:
            # The momentum of every call makes the plain average. None would mean the same, but
            # NNI's BatchNorm of variable width does not take it, and asks for it by a method.
            norm.__dict__.update(training=True, forward=_Averaging(norm))
            if isinstance(norm, MixedOperation):
                norm.__dict__["forward_argument"] = partial(_argument, norm)
        try:
            yield
        finally:
            for norm, state in zip(self.norms, before, strict=True):
                norm.__dict__.clear()
                norm.__dict__.update(state)


class _Averaging:
    """Runs a norm, the n-th call with a momentum of 1/n."""

    def __init__(self, norm: _NormBase) -> None:
        self.norm, self.forward, self.n = norm, norm.forward, 0

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.n += 1
        self.norm.__dict__["momentum"] = 1 / self.n
        return self.forward(*args, **kwargs)


def _argument(norm: Any, name: str) -> Any:
    return norm.momentum if name == "momentum" else type(norm).forward_argument(norm, name)


class Calibrator:
    """Takes the statistics of children, all on the same training batches.

    Parameters
    ----------
    module
        The Lightning module that trains the supernet, attached to a trainer; its
        ``training_module`` is the evaluator's module.
    training_data
        Gives the loader of the training data, when the first child is calibrated.
    n_batches
        Number of batches; with 0 the supernet's statistics are used as they are, which fit no
        child. It has no effect without BatchNorm.

    Raises
    ------
    ValueError
        If ``n_batches`` is not a whole number of at least 0.
    """

    def __init__(self, module: Any, training_data: Callable[[], Any], n_batches: int) -> None:
        check_count("calibration_batches", n_batches, at_least=0)
        self.module = module
        self.n_batches = n_batches
        self._training_data = training_data
        self._calls: list[Call] | None = None

    def reset(self) -> None:
        """Forget the batches, so that the present training data are read."""
        self._calls = None

    @property
    def ready(self) -> bool:
        """Whether the batches have been read."""
        return self._calls is not None

    def read(self) -> None:
        """Read the batches, and keep the calls of the model that training steps make, on the CPU.

        None are kept where nothing is to be calibrated. What the steps change of the evaluator is
        the caller's to put back. The generators are set, so that a resumed run has the same ones.

        Raises
        ------
        ValueError
            If there is BatchNorm, and no batch of training data.
        """
        calibrates = self.n_batches and tracking_norms([self._model])
        with gradients_kept(self.module), in_training(self.module):
            self._calls = self._read() if calibrates else []

    def calls(self) -> list[Call]:
        """The calls of the model to calibrate on, on its device; see :meth:`read`."""
        if self._calls is None:
            self.read()
        assert self._calls is not None
        device = next((p.device for p in self._model.parameters()), None)
        return [_to_device(call, device) for call in self._calls]

    def statistics(self) -> Statistics:
        """Statistics of the path that is set, taken within a session of the scorer."""
        calls = self.calls()
        statistics = Statistics(tracking_norms([self._model]) if calls else [])
        precision = self.module.trainer.precision_plugin
        with statistics, torch.no_grad(), precision.val_step_context(), statistics.taken():
            for call in calls:
                call.repeat(self._model)
        return statistics

    @property
    def _model(self) -> nn.Module:
        return self.module.training_module.model

    def _read(self) -> list[Call]:
        data = self._training_data()
        evaluator = self.module.training_module
        calls: list[Call] = []
        loaders = combined([] if data is None else data, TRAINING)
        with contextlib.closing(batches_anew(loaders)) as batches:
            for batch, index, _ in batches:
                call = training_call(evaluator, on_device(self.module, batch), index)
                calls += [] if call is None else [_to_device(call, torch.device("cpu"))]
                if len(calls) == self.n_batches:
                    break
        if not calls:
            raise ValueError(
                f"{type(self._model).__name__} has BatchNorm, whose statistics are taken anew for "
                "every child: give the evaluator train_dataloaders with at least one batch, or "
                "calibration_batches=0 to use the supernet's statistics as they are"
            )
        return calls


def _to_device(call: Call, device: torch.device | None) -> Call:
    def move(value: Any) -> Any:
        return value.to(device) if isinstance(value, Tensor) else value

    return Call(*tree_map(move, (call.args, call.kwargs)))
