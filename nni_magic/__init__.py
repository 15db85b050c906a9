"""MAGIC [Xu2022] as one-shot strategies for NNI 3.0.

``nni_magic.strategies`` holds what most users need: ``SPOS``, ``MagicT``, ``MagicA`` and
``MagicAT``; :func:`load` reads a child that was exported. Importing this package patches nothing,
and loads neither torch nor NNI.

[Xu2022] Xu et al., Analyzing and Mitigating Interference in Neural Architecture Search, ICML 2022.
"""

from __future__ import annotations

import importlib
import os
from typing import Any

__version__ = "0.4.0"


def load(folder: str | os.PathLike[str]) -> Any:
    """Load an exported child of text or images: its ``model`` with weights, and ``preprocess``.

    See :func:`nni_magic.tasks.exported.load`. It takes folders of children, and those of Hugging
    Face that children were written to.

    Examples
    --------
    ::

        child = nni_magic.load("children/1_<digest>")
        logits = child.model(**child.preprocess("Monday comes after <mask>."))    # text
        logits = child.model(child.preprocess(Image.open("seven.png")))           # images
    """
    return importlib.import_module(".tasks.exported", __name__).load(folder)
