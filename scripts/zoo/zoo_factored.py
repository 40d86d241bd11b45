"""The nets of the zoo that factor convolutions: Inception v3 and later by rows and columns, and Xception."""

from collections.abc import Sequence

from zoo_text import Size, Sketch

# --- Inception v3, v4 and Inception-ResNet-v2

EPS = 0.001
ROW, COLUMN = (1, 7), (7, 1)
SHORT_ROW, SHORT_COLUMN = (1, 3), (3, 1)

Step = tuple[int, Size] | tuple[int, Size, int]
"""A convolution: channels, kernel and, if it is not 1, the stride. Those with a stride are not padded."""


def _unit(net: Sketch, name: str, outputs: int, kernel: Size, *, stride: int = 1, padded: bool = True) -> str:
    """Add a convolution with batch normalization and ReLU."""
    pad: Size = 0
    if padded:
        pad = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    net.conv(name, outputs, kernel, stride=stride, pad=pad, bias=False)
    net.batch_norm(f"{name}_bn", eps=EPS)
    net.scale(f"{name}_scale")
    return net.relu(f"{name}_relu")


def _size_name(kernel: Size) -> str:
    height, width = (kernel, kernel) if isinstance(kernel, int) else kernel
    return f"{height}x{width}"


def _branch(net: Sketch, module: str, number: int, entrance: str, steps: Sequence[Step]) -> str:
    """Add a branch: a sequence of convolutions."""
    net.last = entrance
    for place, (outputs, kernel, *stride) in enumerate(steps, start=1):
        name = f"{module}_branch{number}_{place}_{_size_name(kernel)}"
        _unit(net, name, outputs, kernel, stride=stride[0] if stride else 1, padded=not stride)
    return net.last


def _module(net: Sketch, module: str, branches: Sequence[Sequence[Step]], pooled: int = 0) -> str:
    """Add a module: branches side by side, joined; the last reads average-pooled pixels and writes `pooled`.

    Without `pooled` channels the last branch is a max pooling that halves height and width.
    """
    net.section(module.replace("_", " "))
    entrance = net.last
    outputs = [
        _branch(net, module, number, entrance, steps) for number, steps in enumerate(branches, start=1)
    ]
    if pooled:
        net.pool(f"{module}_pool", 3, 1, method="AVE", pad=1, of=entrance)
        outputs.append(_unit(net, f"{module}_pool_proj", pooled, 1))
    else:
        outputs.append(net.pool(f"{module}_pool", 3, 2, of=entrance))
    return net.concat(f"{module}_concat", outputs)


def _forked_module(
    net: Sketch,
    module: str,
    plain: int,
    forks: Sequence[tuple[Sequence[Step], int]],
    pooled: int,
) -> None:
    """Add a module whose branches end in a 1x3 and a 3x1 convolution side by side."""
    net.section(module.replace("_", " "))
    entrance = net.last
    outputs = [_branch(net, module, 1, entrance, [(plain, 1)])]
    for number, (steps, width) in enumerate(forks, start=2):
        fork = _branch(net, module, number, entrance, steps)
        for kernel in (SHORT_ROW, SHORT_COLUMN):
            net.last = fork
            outputs.append(_unit(net, f"{module}_branch{number}_fork_{_size_name(kernel)}", width, kernel))
    net.pool(f"{module}_pool", 3, 1, method="AVE", pad=1, of=entrance)
    outputs.append(_unit(net, f"{module}_pool_proj", pooled, 1))
    net.concat(f"{module}_concat", outputs)


def _factored_stem(net: Sketch) -> None:
    """Add the stem of Inception v3 and Inception-ResNet-v2: 299x299 pixels become 35x35 with 192 channels."""
    _wide_stem(net)
    net.pool("pool1_3x3_s2", 3, 2)
    _unit(net, "conv4_3x3_reduce", 80, 1)
    _unit(net, "conv4_3x3", 192, 3, padded=False)
    net.pool("pool2_3x3_s2", 3, 2)


def _wide_stem(net: Sketch) -> None:
    net.section("stem")
    _unit(net, "conv1_3x3_s2", 32, 3, stride=2, padded=False)
    _unit(net, "conv2_3x3_s1", 32, 3, padded=False)
    _unit(net, "conv3_3x3_s1", 64, 3)


def _classes(net: Sketch, dropout: float = 0.2) -> None:
    net.section("classes")
    net.pool("pool_8x8_s1", 8, 1, method="AVE")
    net.dropout("pool_8x8_s1_drop", dropout)
    net.fc("classifier", 1000)
    net.softmax()


def inception_v3(net: Sketch) -> None:
    """Add Inception v3 without the auxiliary classifier of training."""
    _factored_stem(net)
    for number, pooled in enumerate((32, 64, 64), start=1):
        _module(net, f"inception_a{number}", V3_A, pooled)
    _module(net, "reduction_a", [[(384, 3, 2)], [(64, 1), (96, 3), (96, 3, 2)]])
    for number, width in enumerate((128, 160, 160, 192), start=1):
        _module(net, f"inception_b{number}", _v3_b(width), 192)
    _module(net, "reduction_b", [[(192, 1), (320, 3, 2)], [(192, 1), (192, ROW), (192, COLUMN), (192, 3, 2)]])
    for number in (1, 2):
        _forked_module(
            net, f"inception_c{number}", 320, [([(384, 1)], 384), ([(448, 1), (384, 3)], 384)], 192
        )
    _classes(net, 0.5)


V3_A: Sequence[Sequence[Step]] = [[(64, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]]


def _v3_b(width: int) -> Sequence[Sequence[Step]]:
    return [
        [(192, 1)],
        [(width, 1), (width, ROW), (192, COLUMN)],
        [(width, 1), (width, COLUMN), (width, ROW), (width, COLUMN), (192, ROW)],
    ]


def inception_v4(net: Sketch) -> None:
    """Add Inception v4."""
    _v4_stem(net)
    for number in range(1, 5):
        _module(net, f"inception_a{number}", V4_A, 96)
    _module(net, "reduction_a", [[(384, 3, 2)], [(192, 1), (224, 3), (256, 3, 2)]])
    for number in range(1, 8):
        _module(net, f"inception_b{number}", V4_B, 128)
    _module(net, "reduction_b", [[(192, 1), (192, 3, 2)], [(256, 1), (256, ROW), (320, COLUMN), (320, 3, 2)]])
    for number in range(1, 4):
        _forked_module(net, f"inception_c{number}", 256, V4_C, 256)
    _classes(net)


V4_A: Sequence[Sequence[Step]] = [[(96, 1)], [(64, 1), (96, 3)], [(64, 1), (96, 3), (96, 3)]]
V4_B: Sequence[Sequence[Step]] = [
    [(384, 1)],
    [(192, 1), (224, ROW), (256, COLUMN)],
    [(192, 1), (192, COLUMN), (224, ROW), (224, COLUMN), (256, ROW)],
]
V4_C: Sequence[tuple[Sequence[Step], int]] = [
    ([(384, 1)], 256),
    ([(384, 1), (448, SHORT_COLUMN), (512, SHORT_ROW)], 256),
]


def _v4_stem(net: Sketch) -> None:
    """Add the stem of Inception v4, which branches three times: 384 channels of 35x35."""
    _wide_stem(net)
    entrance = net.last
    pooled = net.pool("stem1_pool_3x3_s2", 3, 2)
    net.last = entrance
    halved = _unit(net, "stem1_3x3_s2", 96, 3, stride=2, padded=False)
    entrance = net.concat("stem1_concat", (pooled, halved))
    _unit(net, "stem2_branch1_1x1", 64, 1)
    short = _unit(net, "stem2_branch1_3x3", 96, 3, padded=False)
    net.last = entrance
    _unit(net, "stem2_branch2_1x1", 64, 1)
    _unit(net, "stem2_branch2_1x7", 64, ROW)
    _unit(net, "stem2_branch2_7x1", 64, COLUMN)
    long = _unit(net, "stem2_branch2_3x3", 96, 3, padded=False)
    entrance = net.concat("stem2_concat", (short, long))
    halved = _unit(net, "stem3_3x3_s2", 192, 3, stride=2, padded=False)
    pooled = net.pool("stem3_pool_3x3_s2", 3, 2, of=entrance)
    net.concat("stem3_concat", (halved, pooled))


#: Residual modules: their branches, the factor of their output in the sum, and the channels of the sum.
RESIDUAL_A: Sequence[Sequence[Step]] = [[(32, 1)], [(32, 1), (32, 3)], [(32, 1), (48, 3), (64, 3)]]
RESIDUAL_B: Sequence[Sequence[Step]] = [[(192, 1)], [(128, 1), (160, ROW), (192, COLUMN)]]
RESIDUAL_C: Sequence[Sequence[Step]] = [[(192, 1)], [(192, 1), (224, SHORT_ROW), (256, SHORT_COLUMN)]]


def inception_resnet_v2(net: Sketch) -> None:
    """Add Inception-ResNet-v2: the modules' scaled outputs are added to their inputs."""
    _factored_stem(net)
    _module(net, "inception_stem", [[(96, 1)], [(48, 1), (64, 5)], [(64, 1), (96, 3), (96, 3)]], 64)
    for number in range(1, 11):
        _residual_module(net, f"inception_resnet_a{number}", RESIDUAL_A, 0.17, 320)
    _module(net, "reduction_a", [[(384, 3, 2)], [(256, 1), (256, 3), (384, 3, 2)]])
    for number in range(1, 21):
        _residual_module(net, f"inception_resnet_b{number}", RESIDUAL_B, 0.1, 1088)
    _module(
        net,
        "reduction_b",
        [[(256, 1), (384, 3, 2)], [(256, 1), (288, 3, 2)], [(256, 1), (288, 3), (320, 3, 2)]],
    )
    for number in range(1, 10):
        _residual_module(net, f"inception_resnet_c{number}", RESIDUAL_C, 0.2, 2080)
    _residual_module(net, "inception_resnet_c10", RESIDUAL_C, 1, 2080, relu=False)
    net.section("end")
    _unit(net, "conv6_1x1", 1536, 1)
    _classes(net)


def _residual_module(
    net: Sketch,
    module: str,
    branches: Sequence[Sequence[Step]],
    factor: float,
    channels: int,
    *,
    relu: bool = True,
) -> None:
    net.section(module.replace("_", " "))
    entrance = net.last
    outputs = [
        _branch(net, module, number, entrance, steps) for number, steps in enumerate(branches, start=1)
    ]
    net.concat(f"{module}_concat", outputs)
    changed = net.conv(f"{module}_up", channels, 1)
    net.add(f"{module}_sum", (entrance, changed), factors=(1, factor))
    if relu:
        net.relu(f"{module}_relu")


# --- Xception


def xception(net: Sketch) -> None:
    """Add Xception: every convolution except the first two is depthwise, then pointwise."""
    net.section("stem")
    _unit(net, "conv1", 32, 3, stride=2, padded=False)
    _unit(net, "conv2", 64, 3, padded=False)
    for number, widths, pad in ((1, (128, 128), 1), (2, (256, 256), 0), (3, (728, 728), 1)):
        _halving_block(net, f"xception{number}", widths, pad, starts_with_relu=number > 1)
    for number in range(4, 12):
        net.section(f"xception{number}")
        entrance = net.last
        net.relu(f"xception{number}_relu", into=f"xception{number}_relu")
        for place in (1, 2, 3):
            changed = _separable(net, f"xception{number}_conv{place}", 728, 728, relu=place < 3)
        net.add(f"xception{number}_elewise", (entrance, changed))
    _halving_block(net, "xception12", (728, 1024), 1, starts_with_relu=True)
    net.section("end")
    _separable(net, "conv3", 1024, 1536, relu=True)
    _separable(net, "conv4", 1536, 2048, relu=True)
    net.section("classes")
    net.global_average("pool_ave")
    net.fc("classifier", 1000)
    net.softmax()


def _halving_block(
    net: Sketch, block: str, widths: tuple[int, int], pad: int, *, starts_with_relu: bool
) -> None:
    """Add a block that halves height and width; with padding, so that they are rounded up."""
    net.section(block)
    entrance, inputs = net.last, {"xception1": 64, "xception2": 128, "xception3": 256}.get(block, 728)
    net.conv(f"{block}_match_conv", widths[1], 1, stride=2, bias=False)
    net.batch_norm(f"{block}_match_conv_bn", eps=EPS)
    shortcut = net.scale(f"{block}_match_conv_scale")
    net.last = entrance
    if starts_with_relu:
        net.relu(f"{block}_relu", into=f"{block}_relu")
    _separable(net, f"{block}_conv1", inputs, widths[0], relu=True)
    _separable(net, f"{block}_conv2", widths[0], widths[1], relu=False)
    pooled = net.pool(f"{block}_pool", 3, 2, pad=pad or None)
    net.add(f"{block}_elewise", (shortcut, pooled))


def _separable(net: Sketch, name: str, inputs: int, outputs: int, *, relu: bool) -> str:
    net.conv(f"{name}_1", inputs, 3, pad=1, groups=inputs, bias=False)
    net.conv(f"{name}_2", outputs, 1, bias=False)
    net.batch_norm(f"{name}_bn", eps=EPS)
    written = net.scale(f"{name}_scale")
    return net.relu(f"{name}_relu") if relu else written
