"""Teach NNI's profilers to count the modules of the BERT space.

NNI 3.0 has no formula for embeddings, layer normalisation, GELU or scaled-dot-product attention.
It would skip them with a warning, and their parameters with them. The modules of this space are
therefore counted whole, each through the two methods that NNI's profilers look up on a module
class: ``_shape_forward`` (output shape) and ``_count_flops``. Nothing is registered for classes
of ``torch.nn``, so counts of other model spaces do not change.
"""

from __future__ import annotations

from nni.nas.profiler.pytorch.flops import FlopsResult
from nni.nas.profiler.pytorch.utils import MutableShape, profiler_leaf_module
from torch import nn

__all__ = ["ProfiledModule"]

# A layer norm costs what NNI counts for an affine batch norm: 4 operations an element.
_NORM_OPERATIONS = 4


@profiler_leaf_module
class ProfiledModule(nn.Module):
    """Base of modules that NNI's ``FlopsProfiler`` and ``NumParamsProfiler`` count as one.

    As everywhere in NNI, one FLOP is one multiply-add, and the batch size does not count. The
    count relies on a property that all subclasses share: each weight of a ``Linear`` or a
    (stride 1, length-preserving) ``Conv1d`` inside is applied exactly once to each token.

    Subclasses define ``_shape_forward(self, *inputs)``, which returns the shape of the output,
    and override :meth:`extra_products` and :meth:`activations` where the defaults of 0 are wrong.
    """

    def extra_products(self, tokens: float) -> float:
        """Multiply-adds with anything but the weights of ``Linear`` and ``Conv1d``."""
        return 0

    def activations(self, tokens: float) -> float:
        """Count the elements that go through a nonlinearity, for a sequence of ``tokens``."""
        return 0

    def _profiled_tokens(self, input_shapes: tuple, output_shape: MutableShape) -> float:
        """Tokens of one sequence that the module was applied to."""
        return output_shape[1]

    def _count_flops(
        self,
        input_shapes: tuple,
        output_shape: MutableShape,
        count_bias: bool = True,
        count_normalization: bool = True,
        count_activation: bool = True,
    ) -> FlopsResult:
        tokens = self._profiled_tokens(input_shapes, output_shape)
        flops = self.extra_products(tokens)
        params = sum(parameter.numel() for parameter in self.parameters())
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Conv1d)):
                flops += tokens * module.weight.numel()
            if isinstance(module, nn.LayerNorm):
                if count_normalization:
                    flops += tokens * _NORM_OPERATIONS * module.weight.numel()
                else:  # NNI's switch drops the parameters of a normalisation, too
                    params -= module.weight.numel() + module.bias.numel()
            elif count_bias and isinstance(bias := getattr(module, "bias", None), nn.Parameter):
                flops += tokens * bias.numel()
        if count_activation:
            flops += self.activations(tokens)
        return FlopsResult(flops, params)
