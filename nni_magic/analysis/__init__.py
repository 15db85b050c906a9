"""Analyse interference between the children of a supernet, and how well it ranks them."""

import nni_bootstrap  # noqa: F401
