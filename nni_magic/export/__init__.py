"""Export the children of a trained supernet, to be used without NNI."""

from .. import compat

compat.load_torchvision()
compat.import_nni_quietly()

from .children import FORMATS, export_child, export_children  # noqa: E402
from .pictures import draw_architecture  # noqa: E402

__all__ = ["FORMATS", "draw_architecture", "export_child", "export_children"]
