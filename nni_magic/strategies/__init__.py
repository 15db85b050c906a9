"""One-shot strategies: SPOS, the baseline, and MAGIC-T, MAGIC-A and MAGIC-AT.

An NNI project swaps one in by changing the line that imports its strategy.
"""

from .. import compat

compat.load_torchvision()
compat.import_nni_quietly()

from .magic_a import MagicA  # noqa: E402
from .magic_at import MagicAT  # noqa: E402
from .magic_t import MagicT  # noqa: E402
from .spos import SPOS  # noqa: E402

__all__ = ["SPOS", "MagicA", "MagicAT", "MagicT"]
