"""Search spaces of the MAGIC paper as plain NNI model spaces, usable by any NNI strategy."""

import nni_bootstrap  # noqa: F401

from search_spaces.bert import BertSpace
from search_spaces.proxylessnas import ProxylessNASSpace

__all__ = ["BertSpace", "ProxylessNASSpace"]
