"""Operators that cannot become layers, and what to do about them."""

from collections.abc import Mapping

TRANSFORMER = "transformers are not supported: use a convolutional net"
_FLOW = "what it does depends on data: export the net without control flow, for inputs of a fixed size"
_QUANTIZED = "quantized nets are not supported: export the net before quantization, with float32 weights"
_SEQUENCE = "nets for sequences are not supported: only classifiers of images are"
_BOXES = "detectors are not supported: cut the net off at its scores, with onnx.utils.extract_model"
_DATA = (
    "its result has a shape or choice that depends on data: cut the net off before it, with "
    "onnx.utils.extract_model"
)
_DEFAULT = (
    "there is no layer for it: replace it in the net before the export, or cut the net off before it, with "
    "onnx.utils.extract_model"
)

ADVICE: Mapping[str, str] = {
    **dict.fromkeys(
        ("LayerNormalization", "Attention", "MultiHeadAttention", "SkipLayerNormalization"), TRANSFORMER
    ),
    **dict.fromkeys(
        ("RMSNormalization", "SimplifiedLayerNormalization", "RotaryEmbedding", "Einsum"), TRANSFORMER
    ),
    **dict.fromkeys(("If", "Loop", "Scan", "SequenceMap"), _FLOW),
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv"), _QUANTIZED
    ),
    **dict.fromkeys(("QLinearMatMul", "ConvInteger", "MatMulInteger", "QLinearAdd", "QGemm"), _QUANTIZED),
    **dict.fromkeys(("LSTM", "GRU", "RNN", "STFT", "DFT"), _SEQUENCE),
    **dict.fromkeys(("NonMaxSuppression", "RoiAlign", "MaxRoiPool"), _BOXES),
    **dict.fromkeys(
        ("NonZero", "Unique", "Compress", "TopK", "ArgMax", "ArgMin", "Where", "ScatterND"), _DATA
    ),
    **dict.fromkeys(("GatherND", "GatherElements", "ScatterElements", "OneHot", "Shape"), _DATA),
}


def advice_on(operator: str, domain: str) -> str:
    """What to do about a node with this operator."""
    if domain == "com.microsoft":
        return "it was made by onnxruntime's optimizer or quantizer: use the file from before"
    return ADVICE.get(operator, _DEFAULT)
