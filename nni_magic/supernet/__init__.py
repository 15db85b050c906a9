"""The supernet: its evaluator, hidden states, calibration, checkpoint and resume."""

import nni_bootstrap  # noqa: F401
