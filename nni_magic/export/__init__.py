"""Export the children of a trained supernet, to be used without NNI."""

import nni_bootstrap  # noqa: F401

from .children import FORMATS, export_child, export_children
from .int8 import write_int8
from .pictures import draw_architecture

__all__ = ["FORMATS", "draw_architecture", "export_child", "export_children", "write_int8"]
