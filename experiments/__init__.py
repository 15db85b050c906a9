"""Experiments of nni-magic: studies, benchmarks, their plans, records and results."""

import nni_bootstrap  # noqa: F401
