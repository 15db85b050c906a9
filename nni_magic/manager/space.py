"""Print the children of a supernet as a search space for any of NNI's tuners.

::

    python -m nni_magic.manager.space --checkpoint supernet.ckpt > search_space.json

In an experiment's YAML, ``searchSpaceFile: search_space.json``; the trial's parameters are then a
sample, which a trial scores with :class:`nni_magic.search.ChildEvaluator` on the same checkpoint.
Candidates that progressive shrinking has deleted are left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..supernet.checkpoint import CHECKPOINT_KEY, read_checkpoint

__all__ = ["search_space"]


def search_space(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """NNI's search space of the children of a supernet.

    Parameters
    ----------
    checkpoint
        From :func:`nni_magic.supernet.checkpoint.read_checkpoint`.

    Returns
    -------
    dict
        Label to ``{"_type": "choice", "_value": [...]}``.

    Examples
    --------
    >>> search_space({"nni_magic": {"sampler": {"candidates": {"depth": [1, 2]}}}})
    {'depth': {'_type': 'choice', '_value': [1, 2]}}
    """
    candidates = checkpoint[CHECKPOINT_KEY]["sampler"]["candidates"]
    return {
        label: {"_type": "choice", "_value": list(choices)} for label, choices in candidates.items()
    }


def main() -> None:
    """Read the command line and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--checkpoint", type=Path, required=True)
    try:
        space = search_space(read_checkpoint(parser.parse_args().checkpoint))
    except (FileNotFoundError, ValueError) as error:
        sys.exit(f"error: {error}")
    print(json.dumps(space, indent=1))


if __name__ == "__main__":
    main()
