"""Analyse interference between the children of a supernet, and how well it ranks them."""

from .. import compat

compat.load_torchvision()
compat.import_nni_quietly()
