"""Plain NNI model spaces, usable by any NNI strategy: those of the MAGIC paper, and a benchmark."""

import nni_bootstrap  # noqa: F401

from search_spaces.bert import BertSpace
from search_spaces.nasbench_macro import NASBenchMacroSpace
from search_spaces.proxylessnas import ProxylessNASSpace

__all__ = ["BertSpace", "NASBenchMacroSpace", "ProxylessNASSpace"]
