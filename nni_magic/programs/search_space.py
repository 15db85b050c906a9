"""Print the children of a supernet as a search space for any of NNI's tuners.

::

    nni-magic search-space --checkpoint supernet.ckpt > search_space.json
"""

from __future__ import annotations

import json

from ..manager.space import search_space
from ..supernet.checkpoint import read_checkpoint
from .settings import SearchSpaceSettings

__all__ = ["run"]


def run(settings: SearchSpaceSettings) -> None:
    """Read the checkpoint and print."""
    print(json.dumps(search_space(read_checkpoint(settings.checkpoint)), indent=1))
