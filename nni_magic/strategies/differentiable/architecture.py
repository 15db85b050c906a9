"""The architecture parameters of a mixture: which there are, and what they say."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn

from ...support.finite import all_finite
from .simplex import entropy

__all__ = ["Architecture"]


class Architecture:
    """The architecture parameters of a mixture, each once.

    Parameters
    ----------
    mixture
        A supernet of NNI's ``DARTS``.
    read
        Gives the point on the simplex that a parameter stands for.

    Attributes
    ----------
    by_label : dict of str to Parameter
        Label of a choice, or of a cell's edge, to its parameter of shape ``(candidates,)``.
    names : list of str
        Names in the mixture's ``state_dict``.
    """

    def __init__(self, mixture: nn.Module, read: Callable[[Tensor], Tensor]) -> None:
        self._read = read
        self.by_label: dict[str, nn.Parameter] = {}
        for module in mixture.modules():
            held = getattr(module, "_arch_alpha", None)
            if isinstance(held, nn.Parameter):
                self.by_label.setdefault(str(module.label), held)
            elif isinstance(held, nn.ParameterDict):
                for label, parameter in held.items():
                    self.by_label.setdefault(label, parameter)
        own = set(map(id, self.by_label.values()))
        every = mixture.named_parameters(remove_duplicate=False)
        self.names = [name for name, parameter in every if id(parameter) in own]

    @property
    def parameters(self) -> list[nn.Parameter]:
        """All of them, in the order of the mixture's modules."""
        return list(self.by_label.values())

    @contextlib.contextmanager
    def learning(self) -> Iterator[None]:
        """Let gradients reach the parameters while the block runs."""
        self.require_gradient(True)
        try:
            yield
        finally:
            self.require_gradient(False)

    def require_gradient(self, required: bool) -> None:
        """Let gradients reach the parameters, or not."""
        for parameter in self.parameters:
            parameter.requires_grad_(required)

    @torch.no_grad()
    def theta(self) -> dict[str, Tensor]:
        """Label to the weights of its candidates in the mixture, which sum to 1."""
        return {label: self._read(each).detach() for label, each in self.by_label.items()}

    def weights(self) -> dict[str, list[float]]:
        """The same in plain types."""
        return {label: theta.tolist() for label, theta in self.theta().items()}

    def summary(self) -> dict[str, Tensor]:
        """Entropy, in nats, and largest weight of a choice, each averaged over the choices."""
        weights = list(self.theta().values())
        return {
            "entropy": torch.stack([entropy(each) for each in weights]).mean(),
            "largest": torch.stack([each.max() for each in weights]).mean(),
        }

    def not_finite(self, gradients: Sequence[Tensor | None]) -> str | None:
        """The first choice whose gradient, or parameter, is infinite or not a number, in words."""
        for (label, each), gradient in zip(self.by_label.items(), gradients, strict=True):
            if gradient is not None and not all_finite([gradient]):
                return f"the gradient of {label!r} is {gradient.tolist()}"
            if not all_finite([each]):
                return f"the parameter of {label!r} is {each.tolist()}"
        return None
