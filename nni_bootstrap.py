"""Load torchvision and NNI so that every later import of them works, in any order.

NNI's last release is from September 2023. Two things stand between it and the libraries of today,
and both have to be settled before the first ``import nni.nas``:

- torchmetrics, and so Lightning and NNI, imports torchvision wherever it is installed. Its wheel
  on a torch without CUDA fails to load its extension, then stops because its operators ``nms`` and
  ``qnms`` are not there. Declaring the two lets the rest of it work. Where torchvision is absent
  or whole, it is only imported.
- NNI wraps every name it finds in ``torch.nn`` and warns about those that are not modules, such as
  ``Buffer``, which are younger than NNI. The warnings are harmless, and exactly these are
  silenced, for this one import. Its packages ``oneshot`` and ``strategy`` import each other:
  whoever imports the former first gets stubs in the latter that fail when they are used.

``import nni_bootstrap`` does it, once. Packages that need NNI do so in their ``__init__``, or the
modules in their first import. No function of another library is changed.
"""

from __future__ import annotations

import importlib
import warnings

__all__ = ["import_nni", "import_torchvision"]


def import_torchvision() -> None:
    """Import torchvision, also where its compiled extension does not load."""
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return
    except RuntimeError as error:
        if "torchvision::nms does not exist" not in str(error):
            raise
        import torch

        for operator in ("nms", "qnms"):
            torch.library.define(
                f"torchvision::{operator}",
                "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor",
            )
        importlib.import_module("torchvision")


def import_nni() -> None:
    """Import NNI in the order that it needs, without its warnings about ``torch.nn``."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=".* is found to be not a nn.Module, which is unexpected"
        )
        importlib.import_module("nni.nas.nn.pytorch")
        importlib.import_module("nni.nas.strategy")


import_torchvision()
import_nni()
