r"""Gradients that several children give to a candidate which they share, the weights frozen.

.. math:: g_i = \nabla_w L(\alpha_i), \qquad
          \cos(g_i, g_j) = \frac{g_i \cdot g_j}{\|g_i\| \, \|g_j\|} \quad [Xu2022, Sec. 3]

where :math:`w` are the flattened weights of the shared candidate. A higher cosine means less
interference.

In a chain (:mod:`nni_magic.supernet.chain`), children share everything up to the candidate's layer
j: the layers below run once, without gradient, and layer j runs once. Each child then runs its own
layers above, forward and back to :math:`H_j`, whose gradient goes through layer j to the weights.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from nni.mutable import Sample
from nni.nas.evaluator.pytorch import Lightning
from nni.nas.nn.pytorch import ModelSpace
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_map

from ..children.json_samples import in_space
from ..children.samples import candidates
from ..supernet.chain import ChainStep, ChangedInPlace, answering, chain_of, single_step
from ..supernet.hidden_states import Call
from ..supernet.layers import choice_blocks
from .frozen import FrozenTraining
from .shared_weights import shared_weights

__all__ = ["SharedGradients"]

_logger = logging.getLogger(__name__)

TOLERANCE = 1e-3
"""Largest relative deviation between a chain's gradient and the model's that is let pass."""


class SharedGradients:
    """Computes the gradients of a candidate for children that share it.

    Dropout is off and norms take the batch's statistics. Every child meets the same batch and the
    same random numbers, such as masks that ``training_step`` draws. Weights, buffers, gradients,
    modes, the supernet's path, random generators, the state of optimizers and metrics, and what the
    evaluator and its trainer are attached to stay as they were.

    A label may be that of several choice blocks: their candidates of one name count as one, with
    the weights of all. In NNI's supernet of a ``Cell`` an operator has weights of its own for
    every input that it may take, so that children share it if they share its input, too.

    Parameters
    ----------
    supernet
        A supernet, or a model space, of which a copy is made into one.
    evaluator
        NNI's Lightning evaluator, whose ``training_step`` gives the loss.
    batches
        The batch as a list of micro-batches, often one. The gradient is that of the loss on all
        of them: a mean weighted by the ``batch_size`` that the evaluator logs its loss with, or
        else by the sizes of the micro-batches. (BatchNorm takes the statistics of each alone.)

    Raises
    ------
    TypeError
        If the evaluator is not NNI's ``Lightning``, or ``batches`` is not a list.
    ValueError
        If there are no batches, the evaluator's trainer has several devices or computes in
        float16, or its module optimizes by itself.

    Attributes
    ----------
    model : ModelSpace
        The supernet.
    """

    def __init__(self, supernet: ModelSpace, evaluator: Lightning, batches: Sequence[Any]) -> None:
        self._training = FrozenTraining(supernet, evaluator, batches)
        self.model = self._training.model
        self._candidates = candidates(self.model)
        self._steps, [self._whole] = chain_of(self.model), single_step(self.model)
        self._places: dict[str, int | None] = {}

    def similarity(self, label: str, children: Sequence[Sample]) -> np.ndarray:
        """Cosine of the gradients of every pair of children.

        Returns
        -------
        numpy.ndarray
            In float64, ``(children, children)``, from -1 to 1, where higher is less interference.

        Raises
        ------
        ValueError
            As for a call, or if there are fewer than two children, or a gradient is zero.
        """
        if len(children) < 2:
            raise ValueError(
                f"children has length {len(children)}; accepted are lists of at least 2"
            )
        gradients = self(label, children)
        norms = gradients.norm(dim=1, keepdim=True)
        for child, norm in zip(children, norms, strict=True):
            if norm == 0:
                raise ValueError(
                    f"the gradient of {child[label]!r} in {label!r} is zero, and its cosine "
                    f"undefined, for the child {child}"
                )
        gradients = gradients / norms
        return (gradients @ gradients.T).cpu().numpy()

    def __call__(self, label: str, children: Sequence[Sample]) -> Tensor:
        """Compute flattened gradients in float64, ``(children, weights of the candidate)``.

        Raises
        ------
        ValueError
            If there is no such choice block, a child is not of this space, has no such block,
            another candidate or, in a cell, another input, the candidate has no weights to train,
            the evaluator gives no scalar loss, or a gradient is not finite.
        """
        children = [in_space(child, self._candidates) for child in children]
        weights = shared_weights(self.model, label, children)
        with self._training.session(weights):
            place = self._place(label, children[0], weights)
            try:
                gradients = self._gradients(children, weights, place)
            except ChangedInPlace:  # another layer than those of the first child
                gradients = self._gradients(children, weights, None)
        for child, gradient in zip(children, gradients, strict=True):
            if not gradient.isfinite().all():
                raise ValueError(
                    f"the gradient of {child[label]!r} in {label!r} is not finite for the child "
                    f"{child}"
                )
        return gradients

    def execution_order(self) -> list[nn.Module]:
        """Choice blocks in the order in which the first child of the space runs them."""
        with self._training.session([]), self._training.precision():
            self._whole.route({label: choices[0] for label, choices in self._candidates.items()})
            return choice_blocks(self.model, self._training.call(0))

    def _gradients(
        self, children: Sequence[Sample], weights: Sequence[Tensor], place: int | None
    ) -> Tensor:
        """Weighted mean over the micro-batches; ``place`` is the step at which children part."""
        n_weights = sum(weight.numel() for weight in weights)
        sums = weights[0].new_zeros(len(children), n_weights, dtype=torch.float64)
        total = torch.zeros(len(children), 1).to(sums)
        for index in range(self._training.n_batches):
            for group in self._groups(children, place):
                members = [children[i] for i in group]
                if place is None:
                    found = self._alone(members, weights, index)
                else:
                    found = self._sharing(members, weights, index, place)
                for i, (gradient, size) in zip(group, found, strict=True):
                    sums[i] += size * gradient.double()
                    total[i] += size
        return sums / total

    def _groups(self, children: Sequence[Sample], place: int | None) -> list[list[int]]:
        """Group children by what they run up to a step."""
        groups: dict[Any, list[int]] = {}
        for i, child in enumerate(children):
            beginning = self._steps[: 0 if place is None else place + 1]
            groups.setdefault(tuple(step.key(child) for step in beginning), []).append(i)
        return list(groups.values())

    def _alone(
        self, children: Sequence[Sample], weights: Sequence[Tensor], index: int
    ) -> Iterator[tuple[Tensor, float]]:
        """Run every child whole."""
        for child in children:
            with self._training.precision():
                self._whole.route(child)
                loss, size = self._training.loss(index)
                gradient = _flat(_gradients([loss], weights))
            yield gradient, size

    def _sharing(
        self, children: Sequence[Sample], weights: Sequence[Tensor], index: int, place: int
    ) -> Iterator[tuple[Tensor, float]]:
        """Run what the children share once, and above it every child by itself."""
        self._whole.route(children[0])
        with self._training.precision():
            call = self._training.call(index)
            with torch.no_grad():
                state = _run(self._steps[:place], children[0], call, call)
            shared = _run([self._steps[place]], children[0], state, call)
        outputs = _differentiable(shared)
        for child in children:
            own = {name: tensor.detach().requires_grad_() for name, tensor in outputs.items()}
            with self._training.precision():
                state = tree_map(partial(_copied, own), shared)  # a layer may change it in place
                output = _run(self._steps[place + 1 :], child, state, call)
                with answering(self.model, lambda *args, output=output, **kwargs: output):
                    loss, size = self._training.loss(index)
            slopes = _gradients([loss], list(own.values()))
            yield _flat(_gradients(list(outputs.values()), weights, slopes, keep=True)), size

    # Whether children can share, found out once for every label

    def _place(self, label: str, child: Sample, weights: Sequence[Tensor]) -> int | None:
        """The step with the choice block, or none if children have to run whole."""
        if label not in self._places:
            places = [i for i, step in enumerate(self._steps) if label in step.labels]
            usable = len(self._steps) > 1 and len(places) == 1
            if usable and (problem := self._difference(places[0], child, weights)):
                usable = False
                _logger.warning(
                    "stem, layers and head of %s do not give the gradient that its forward gives "
                    "(%s): every child is run whole", type(self.model).__name__, problem,
                )  # fmt: skip
            self._places[label] = places[0] if usable else None
        return self._places[label]

    def _difference(self, place: int, child: Sample, weights: Sequence[Tensor]) -> str:
        """Say how sharing differs from running a child whole, on the first micro-batch."""
        [(whole, _)] = self._alone([child], weights, 0)
        try:
            [(shared, _)] = self._sharing([child], weights, 0, place)
        except torch.OutOfMemoryError:
            raise
        except Exception as error:  # what is a chain by its names only may fail in any way
            return f"{type(error).__name__}: {error}"
        if (deviation := (shared - whole).norm()) > TOLERANCE * whole.norm():
            return f"it deviates by {deviation / whole.norm():.2g} of its length"
        return ""


def _run(steps: Sequence[ChainStep], child: Sample, state: Any, call: Call) -> Any:
    before = call.changes
    for step in steps:
        if step.key(child) is not None:
            step.route(child)
            state = step.run(state, **step.given(call))
    if call.changes != before:
        raise ChangedInPlace("a layer or the head writes into the arguments of forward")
    return state


def _differentiable(state: Any) -> dict[int, Tensor]:
    """Tensors of a hidden state that gradients go through, by their identity."""
    leaves = [leaf for leaf in tree_flatten(state)[0] if isinstance(leaf, Tensor)]
    return {id(leaf): leaf for leaf in leaves if leaf.requires_grad}


def _copied(own: Mapping[int, Tensor], leaf: Any) -> Any:
    return own.get(id(leaf), leaf).clone() if isinstance(leaf, Tensor) else leaf


def _gradients(
    outputs: Sequence[Tensor],
    inputs: Sequence[Tensor],
    vectors: Sequence[Tensor] | None = None,
    *,
    keep: bool = False,
) -> Sequence[Tensor]:
    """Vector-Jacobian products, zero where nothing leads from input to output."""
    if not inputs or not any(output.requires_grad for output in outputs):
        return [torch.zeros_like(tensor) for tensor in inputs]
    return torch.autograd.grad(outputs, inputs, vectors, retain_graph=keep, materialize_grads=True)


def _flat(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])
