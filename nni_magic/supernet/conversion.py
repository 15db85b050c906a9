"""Turn a space into a supernet that keeps what the space says about its layers.

NNI makes a path-sampling supernet of new modules, from the arguments that the space's modules were
made with. What a space set on a module afterwards is lost: the hub's ProxylessNAS and MobileNetV3
set BatchNorm's ``eps`` so. The supernet, and every child frozen out of it, then computes something
else than the child that NNI builds anew. Here the new modules take these settings over. Weights
are drawn anew, as NNI does.
"""

from __future__ import annotations

from typing import Any

from nni.nas.nn.pytorch import Cell, ModelSpace
from nni.nas.oneshot.pytorch.strategy import OneShotStrategy, RandomOneShot, is_supernet
from nni.nas.oneshot.pytorch.supermodule.operation import MixedConv2d, MixedOperation
from nni.nas.oneshot.pytorch.supermodule.sampling import PathSamplingCell
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["KeptSettings", "PaddedConv2d", "PathSampling", "to_supernet"]

WIDTHS = ("kdim", "vdim")
"""Where these are ``None``, they follow another argument, and the attribute is not the setting."""


class KeptSettings(OneShotStrategy):
    """For strategies of NNI: the supernet's layers have the settings of the space's layers."""

    def default_mutation_hooks(self) -> list[Any]:
        return [PaddedConv2d.mutate, *super().default_mutation_hooks()]

    def run_hook(self, hook: Any, name: str, module: nn.Module, memo: dict[str, Any]) -> Any:
        result = super().run_hook(hook, name, module, memo)
        new = result[0] if isinstance(result, tuple) else result
        if isinstance(new, MixedOperation):
            _refuse_what_is_lost(name, module, new)
            _keep_settings(module, new)
        elif isinstance(new, PathSamplingCell) and isinstance(module, Cell):
            _keep_norms(module, new)
        return result


class PathSampling(KeptSettings, RandomOneShot):
    """NNI's strategy with a supernet whose layers have the settings of the space's layers."""


def to_supernet(space: ModelSpace) -> ModelSpace:
    """Turn a space into a path-sampling supernet, in place, unless it is a supernet already."""
    return space if is_supernet(space) else PathSampling().mutate_model(space)


class PaddedConv2d(MixedConv2d):
    """NNI's convolution of chosen shape, whose ``padding_mode`` pads as much as was chosen.

    NNI pads as much as the largest choice where the mode is not ``zeros``.
    """

    def forward_with_args(
        self, in_channels: Any, out_channels: Any, kernel_size: Any, stride: Any, padding: Any,
        dilation: Any, groups: Any, inputs: Tensor,
    ) -> Tensor:  # fmt: skip
        if self.padding_mode != "zeros":
            amounts = _amounts(padding, _pair(kernel_size), _pair(dilation))
            inputs = F.pad(inputs, amounts, mode=self.padding_mode)
            weights = self.freeze_weight(in_channels, out_channels, kernel_size, groups)
            return F.conv2d(
                inputs, weights["weight"], weights["bias"], stride, 0, dilation, groups
            )
        output: Tensor = super().forward_with_args(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, inputs
        )
        return output


def _amounts(padding: Any, kernel: tuple[int, int], dilation: tuple[int, int]) -> list[int]:
    """What ``torch.nn.functional.pad`` adds: left, right, top and bottom."""
    if isinstance(padding, str):
        sizes = zip(dilation, kernel, strict=True)
        spans = [each * (size - 1) if padding == "same" else 0 for each, size in sizes]
        pairs = [(span // 2, span - span // 2) for span in spans]
    else:
        pairs = [(each, each) for each in _pair(padding)]
    return [amount for pair in reversed(pairs) for amount in pair]


def _pair(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def _refuse_what_is_lost(name: str, module: nn.Module, mixed: MixedOperation) -> None:
    """What has weights of other names, such as weight norm, would be left out."""
    own, new = (dict(each.named_parameters()).keys() for each in (module, mixed))
    if lost := sorted(own - new - {"in_proj_weight"}):  # which attention may have in three parts
        raise ValueError(
            f"{name} is a {type(module).__name__} with {', '.join(lost)}, which NNI's supernet "
            "leaves out; accepted are layers as they are made, with no weight norm or the like, "
            "which may be put on layers of torch.nn"
        )


def _keep_settings(module: nn.Module, mixed: MixedOperation) -> None:
    """Give a mixed operation what was set on its module after that was made.

    The path reads ``init_arguments``, and a frozen child is made with them.
    """
    follows = {name for name in WIDTHS if mixed.init_arguments.get(name) is None}
    constant = mixed.init_arguments.keys() - mixed.mutable_arguments.keys() - follows
    for name in constant & vars(module).keys():
        mixed.init_arguments[name] = vars(module)[name]
        setattr(mixed, name, vars(module)[name])
    mixed.train(module.training)
    frozen = {name for name, each in module.named_parameters() if not each.requires_grad}
    for name, parameter in mixed.named_parameters():
        parameter.requires_grad_(name not in frozen)


def _keep_norms(cell: Cell, sampled: PathSamplingCell) -> None:
    """Give the operators that NNI makes anew for a cell what was set on all of the space's."""
    settings = {(norm.eps, norm.momentum) for norm in _norms(cell.ops)}
    if len(settings) == 1:
        for norm in _norms(sampled.ops):
            norm.eps, norm.momentum = next(iter(settings))


def _norms(module: nn.Module) -> list[_NormBase]:
    return [each for each in module.modules() if isinstance(each, _NormBase)]
