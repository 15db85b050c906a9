"""Path samplers: which child a training step trains."""

import nni_bootstrap  # noqa: F401

from .base import Sampler
from .gradual import GradualSampler
from .interleaved import InterleavedSampler
from .uniform import UniformSampler

__all__ = ["GradualSampler", "InterleavedSampler", "Sampler", "UniformSampler"]
