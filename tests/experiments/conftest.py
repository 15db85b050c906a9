"""Let Lightning be imported beside a torchvision whose compiled operators do not load."""

import torch


def _declare_torchvision_operators():
    try:
        import torchvision  # noqa: F401
    except ImportError:
        pass
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
        library = torch.library.Library("torchvision", "DEF")
        library.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        library.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
        return library  # its declarations last as long as it does
    return None


_LIBRARY = _declare_torchvision_operators()
