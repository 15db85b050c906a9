r"""Align the hidden states of child models.

.. math:: L_{align} = \sum_{n \in A} \mathrm{MSE}(H_n(\alpha^l), H_n(\alpha_t)) \quad [Xu2022, 1]

==================  ============================================================
:math:`H_n`         ``Call.states``: outputs of the aligned layers, by name
:math:`A`           ``Alignment.layers``: the aligned layers
:math:`\alpha^l`    the anchor; ``Alignment.target`` gives its hidden states
:math:`\alpha_t`    the child that the step trains
==================  ============================================================

The target's pass repeats the evaluator's call of the model on the anchor's path. It makes no
gradient, ends behind the last aligned layer, has dropout off, and uses batch statistics without
writing BatchNorm's buffers.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from inspect import Parameter

import torch
from nni.mutable import Sample
from torch import Tensor, nn

from ..supernet.hidden_states import Call, States, as_anchor, hooked, recorded

__all__ = ["MASK_ARGUMENT", "Alignment", "alignment_loss"]

MASK_ARGUMENT = "attention_mask"
"""Name of the padding mask unless another is given; a model need not have it."""


def alignment_loss(
    target: Mapping[str, Tensor], states: Mapping[str, Tensor], mask: Tensor | None = None
) -> Tensor:
    """Sum over layers of the mean squared error between hidden states [Xu2022, Eq. 1].

    Parameters
    ----------
    target, states
        Hidden states by layer; those of a layer have the same shape, ``(batch, ...)``.
    mask
        Nonzero where a position is real and zero where it is padding; its shape is the leading
        dimensions of the hidden states, e.g. ``(batch, seq)`` for ``(batch, seq, hidden)``.
        Padding counts neither in the error nor in the mean.

    Returns
    -------
    Tensor
        A scalar in float32, whatever the precision of the states.

    Examples
    --------
    >>> alignment_loss({"a": torch.zeros(2, 3)}, {"a": torch.full((2, 3), 2.0)})
    tensor(4.)
    """
    total = torch.zeros((), device=next(iter(states.values())).device)
    for name, state in states.items():
        error = (state.float() - target[name].float()).square()
        if mask is None:
            total = total + error.mean()
        else:
            if error.shape[: mask.dim()] != mask.shape:
                raise ValueError(
                    f"the mask has shape {tuple(mask.shape)}, but the hidden state of layer "
                    f"{name!r} is {tuple(error.shape)}: the mask must have its leading dimensions; "
                    "pass mask_argument=None to align without a mask"
                )
            weight = (mask != 0).float()
            per_position = error.reshape(*mask.shape, -1).mean(-1)
            total = total + (per_position * weight).sum() / weight.sum().clamp(min=1)
    return total


class Alignment:
    """The alignment term of a training step's loss.

    ``with alignment.observing(): ...`` surrounds the evaluator's training step of the child;
    calling the object afterwards gives the term.

    Parameters
    ----------
    model
        The supernet.
    layers
        The aligned layers by name; see :func:`nni_magic.supernet.hidden_states.select_layers`.
    route
        Sets the supernet's path to a sample.
    target
        Given a function that replays a sample, returns the hidden states to align to.
        MAGIC-A's is ``lambda replay: replay(anchor.sample)``.
    weight
        λ of [Xu2022, Eq. 2], by which the strategy multiplies the term.
    mask_argument
        Name of the argument of the model's ``forward`` that is the padding mask. When the
        evaluator passes it, padding is left out; otherwise every position counts.
    gradient
        Let gradients through the target's pass as well, for study.

    Raises
    ------
    ValueError
        If ``forward`` has no such argument, unless it is the default's.
    """

    name = "alignment_loss"

    def __init__(
        self,
        model: nn.Module,
        layers: Mapping[str, nn.Module],
        route: Callable[[Sample], None],
        target: Callable[[Callable[[Sample], States]], States],
        *,
        weight: float = 0.5,
        mask_argument: str | None = MASK_ARGUMENT,
        gradient: bool = False,
    ) -> None:
        self.model = model
        self.layers = layers
        self.route = route
        self.target = target
        self.weight = weight
        self.gradient = gradient
        self.mask_argument = mask_argument
        self._signature = inspect.signature(model.forward)
        self._modules = list(model.modules())
        self._calls: list[Call] = []
        self._check_mask_argument()

    @contextlib.contextmanager
    def observing(self) -> Iterator[None]:
        """Record every call of the model, with the hidden states of the aligned layers."""
        with recorded(self.model, self.layers) as self._calls:
            yield

    def __call__(self, child: Sample) -> Tensor:
        """The term for what was observed, averaged over the model's calls.

        Parameters
        ----------
        child
            The sample observed. The supernet's path is set back to it.

        Raises
        ------
        ValueError
            If the step did not call the model.
        """
        calls, self._calls = self._calls, []
        if not calls:
            raise ValueError("the training step did not call self.model(...): nothing to align")
        losses = []
        for call in calls:
            target = self.target(lambda sample, call=call: self.replay(call, sample))  # type: ignore[misc]
            losses.append(alignment_loss(target, call.states, self._mask(call)))
        self.route(child)
        return torch.stack(losses).mean()

    def replay(self, call: Call, sample: Sample) -> States:
        """Hidden states of another child for the inputs of a call.

        Raises
        ------
        ValueError
            If the child's path does not run through all the aligned layers.
        """
        states: States = {}
        self.route(sample)
        with as_anchor(self._modules), torch.set_grad_enabled(self.gradient):  # noqa: SIM117
            with hooked(self.layers, states, stop=True):
                self.model(*call.args, **call.kwargs)
        if missing := [name for name in self.layers if name not in states]:
            raise ValueError(f"aligned layers {missing} are not run by the child {sample}")
        return states

    def check_shapes(self, call: Call, children: Sequence[Sample]) -> None:
        """Make sure that the hidden states of these children can be compared.

        Raises
        ------
        ValueError
            If a layer's output is not a tensor, its shape differs between two children, or it is
            changed in place behind the layer.
        """
        self.route(children[0])
        with as_anchor(self._modules), torch.no_grad(), recorded(self.model, self.layers):
            self.model(*call.args, **call.kwargs)
        shapes: dict[str, tuple[int, ...]] = {}
        for child in children:
            for name, state in self.replay(call, child).items():
                if not isinstance(state, Tensor):
                    raise ValueError(
                        f"the output of aligned layer {name!r} is a {type(state).__name__}, "
                        "not a tensor; pass aligned_layers that give a tensor"
                    )
                shape = shapes.setdefault(name, tuple(state.shape))
                if shape != tuple(state.shape):
                    raise ValueError(
                        f"aligned layer {name!r} gives shape {shape} for one child and "
                        f"{tuple(state.shape)} for another; pass aligned_layers (or align_every) "
                        "whose outputs have one shape for every child"
                    )

    def _check_mask_argument(self) -> None:
        kinds = {name: each.kind for name, each in self._signature.parameters.items()}
        names = [name for name, kind in kinds.items() if kind is not Parameter.VAR_POSITIONAL]
        if (
            self.mask_argument not in (None, MASK_ARGUMENT, *names)
            and Parameter.VAR_KEYWORD not in kinds.values()
        ):
            raise ValueError(
                f"mask_argument is {self.mask_argument!r}, but forward of "
                f"{type(self.model).__name__} takes {names}; name one of these, or None to align "
                "without a mask"
            )

    def _mask(self, call: Call) -> Tensor | None:
        if self.mask_argument is None:
            return None
        given = self._signature.bind(*call.args, **call.kwargs).arguments
        return given.get(self.mask_argument, call.kwargs.get(self.mask_argument))
