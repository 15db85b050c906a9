"""Children in ONNX files with whole numbers of 8 bits for weights and, as it runs, activations."""

from __future__ import annotations

import tempfile
from pathlib import Path

from ..support.files import atomic_file
from .children import check_formats

__all__ = ["write_int8"]


def write_int8(source: str | Path, target: str | Path | None = None) -> Path:
    """Quantize an ONNX file with onnxruntime's dynamic quantization.

    Weights of linear maps, convolutions and embeddings are rounded once, to the scale of each
    tensor; activations as they come, so that no data are needed here. How much that changes the
    outputs depends on the child: measure it on data of your own.

    Parameters
    ----------
    source
        Such as ``child.onnx``.
    target
        Where to write; by default beside it, ``child_int8.onnx``.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ModuleNotFoundError
        If the extra ``onnx`` is not installed.
    """
    source = Path(source)
    target = source.with_stem(f"{source.stem}_int8") if target is None else Path(target)
    check_formats(["onnx"])
    if not source.is_file():
        raise FileNotFoundError(f"source is {str(source)!r}; accepted is the file of a child.onnx")
    import onnx
    from onnxruntime.quantization import QuantType, quant_pre_process, quantize_dynamic

    with tempfile.TemporaryDirectory() as folder, atomic_file(target) as file:
        plain, prepared, quantized = (
            Path(folder) / f"{name}.onnx" for name in ("plain", "prepared", "quantized")
        )
        model = onnx.load(source)
        # onnxruntime transposes weights of linear maps, and stumbles over their old shapes.
        del model.graph.value_info[:]
        onnx.save(model, plain)
        quant_pre_process(plain, prepared, skip_optimization=True, skip_symbolic_shape=True)
        # Without a sign, because products of signed numbers saturate on processors without VNNI.
        quantize_dynamic(prepared, quantized, weight_type=QuantType.QUInt8)
        file.write(quantized.read_bytes())
    return target
