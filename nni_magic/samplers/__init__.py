"""Path samplers: which child a training step trains."""

import nni_bootstrap  # noqa: F401
