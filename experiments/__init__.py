"""Experiments of nni-magic: data, evaluators and scripts."""

import nni_bootstrap  # noqa: F401
