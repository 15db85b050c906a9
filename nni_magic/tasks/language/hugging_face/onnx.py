"""Any of the models for ONNX runtimes, with a batch and a length of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nni_bootstrap  # noqa: F401
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from ....export.children import check_formats
from ....export.programs import example_inputs, write_onnx

__all__ = ["export_onnx"]


class _Outputs(nn.Module):
    """A model that gives its tensors by their names, and takes no other options."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> dict[str, Tensor]:
        return dict(self.model(input_ids, attention_mask, return_dict=True))


def export_onnx(model: PreTrainedModel, path: str | Path, *, tolerance: float = 1e-4) -> Path:
    """Write a model with inputs ``input_ids`` and ``attention_mask``, and compare what it computes.

    Batch and length are free, the length up to the model's maximum; outputs have the names that
    ``transformers`` gives them, such as ``logits``. The file is compared with the model at the
    longest sequence, at half of it, and at a single token.

    Parameters
    ----------
    model
        One of this package, fine-tuned or not; it stays as it is.
    path
        Where to write, by custom ``onnx/model.onnx`` in the model's folder.
    tolerance
        Largest difference between outputs, relative and absolute.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    ModuleNotFoundError
        If the extra ``onnx`` is not installed.
    RuntimeError
        If the file does not compute what the model does.
    """
    check_formats(["onnx"])
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    outputs, was_training = _Outputs(model), model.training
    inputs = example_inputs((), _example(model.config))
    try:
        outputs.eval()
        with torch.no_grad():
            names = list(outputs(**inputs[1]))
        write_onnx(
            outputs, inputs, path, tolerance=tolerance, any_size=(1,), output_names=names
        )
    finally:
        model.train(was_training)
    return path


def _example(config: Any) -> dict[str, Tensor]:
    """A full row, and one that is mostly padding."""
    length = config.max_position_embeddings
    ids = torch.arange(2 * length).reshape(2, length) % config.vocab_size
    mask = torch.arange(length) < torch.tensor([[length], [max(1, length // 4)]])
    return {"input_ids": ids, "attention_mask": mask.long()}
