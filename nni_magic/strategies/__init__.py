"""One-shot strategies: SPOS, the baseline, and MAGIC-T, MAGIC-A and MAGIC-AT.

An NNI project swaps one in by changing the line that imports its strategy. ``AverageAlignment``
and ``PercentileAnchor`` are the paper's variants of MAGIC-A, for analysis.
"""

from .. import compat

compat.load_torchvision()
compat.import_nni_quietly()

from .average import AverageAlignment  # noqa: E402
from .magic_a import MagicA  # noqa: E402
from .magic_at import MagicAT  # noqa: E402
from .magic_t import MagicT  # noqa: E402
from .percentile import PercentileAnchor  # noqa: E402
from .spos import SPOS  # noqa: E402

__all__ = ["SPOS", "AverageAlignment", "MagicA", "MagicAT", "MagicT", "PercentileAnchor"]
