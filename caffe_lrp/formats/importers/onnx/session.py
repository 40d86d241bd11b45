"""Runs an ONNX file with the package onnxruntime, for comparison with the imported net."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.formats.importers.imported import ImportedNet, NotRunError

_ERRORS_ONLY = 4
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64}


def run(path: Path, net: ImportedNet, inputs: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    """Blobs of the imported net -> numbers of the source for inputs (N, …), which has been read before.

    Raises
    ------
    NotRunError
        The package onnxruntime is missing, or cannot run the file.
    """
    if not net.outputs:
        raise NotRunError("the file has no scores among its outputs")
    try:
        import onnxruntime  # noqa: PLC0415  # an extra
    except ImportError:
        raise NotRunError(
            'the package onnxruntime is missing; install it with: pip install "caffe-lrp[onnx]"'
        ) from None
    try:
        return _run(onnxruntime, path, net, inputs)
    except Exception as fault:  # its errors have no common class
        raise NotRunError(f"onnxruntime cannot run the file: {str(fault).strip() or 'no reason'}") from fault


def _run(onnxruntime: Any, path: Path, net: ImportedNet, inputs: NDArray[Any]) -> Mapping[str, NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    given = session.get_inputs()[0]
    dtype = _TYPES[given.type]
    count = given.shape[0] if isinstance(given.shape[0], int) else 1
    parts: dict[str, list[NDArray[Any]]] = {name: [] for name in net.outputs}
    for image in inputs.transpose(net.source_axes).astype(dtype):
        batch = np.repeat(image[np.newaxis], count, axis=0)
        for name, scores in zip(parts, session.run(list(parts), {given.name: batch}), strict=True):
            parts[name].append(np.asarray(scores[0], np.float64))
    return {net.outputs[name]: np.stack(found) for name, found in parts.items()}
