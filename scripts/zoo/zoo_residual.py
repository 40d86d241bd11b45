"""The nets of the zoo that are made of residual or dense blocks."""

from collections.abc import Callable, Iterator
from string import ascii_lowercase

from zoo_text import Sketch

Stages = tuple[int, int, int, int]

#: Blocks of the four stages.
STAGES_18: Stages = (2, 2, 2, 2)
STAGES_50: Stages = (3, 4, 6, 3)
STAGES_101: Stages = (3, 4, 23, 3)
STAGES_152: Stages = (3, 8, 36, 3)


def places(stages: Stages) -> Iterator[tuple[int, int, str]]:
    """Yield stage (from 2), number of the block in it (from 0) and the block's name of every block.

    Blocks are named a, b, c …; those of long stages a, b1, b2 … in nets deeper than ResNet-50.
    """
    is_deep = max(stages) > max(STAGES_50)
    for stage, blocks in enumerate(stages, start=2):
        for block in range(blocks):
            is_numbered = is_deep and blocks > 3 and block > 0
            yield stage, block, f"{stage}b{block}" if is_numbered else f"{stage}{ascii_lowercase[block]}"


def _unit(
    net: Sketch,
    place: str,
    outputs: int,
    kernel: int,
    *,
    relu: bool,
    stride: int = 1,
    groups: int = 1,
) -> str:
    """Add a convolution with its normalization: ``res``, ``bn`` and ``scale`` of a place."""
    net.conv(f"res{place}", outputs, kernel, stride=stride, pad=kernel // 2, groups=groups, bias=False)
    net.batch_norm(f"bn{place}")
    written = net.scale(f"scale{place}")
    return net.relu(f"res{place}_relu") if relu else written


def _stem(net: Sketch, *, bias: bool) -> None:
    net.section("stem")
    net.conv("conv1", 64, 7, stride=2, pad=3, bias=bias)
    net.batch_norm("bn_conv1")
    net.scale("scale_conv1")
    net.relu("conv1_relu")
    net.pool("pool1", 3, 2)


def _classes(net: Sketch) -> None:
    net.section("classes")
    net.pool("pool5", 7, 1, method="AVE")
    net.fc("fc1000", 1000)
    net.softmax()


Branch = Callable[[Sketch, str, str, int, int], str]
"""Adds the residual branch of a block: net, place, blob to read, width of the stage, stride."""


def _residual(net: Sketch, stages: Stages, branch: Branch, widening: int) -> None:
    """Add blocks whose shortcut is projected where the shape changes, each followed by a ReLU."""
    for stage, block, place in places(stages):
        net.section(f"block {place}")
        entrance, width = net.last, 64 << (stage - 2)
        stride = 2 if block == 0 and stage > 2 else 1
        shortcut = entrance
        if stride > 1 or (block == 0 and widening > 1):
            shortcut = _unit(net, f"{place}_branch1", widening * width, 1, relu=False, stride=stride)
        changed = branch(net, place, entrance, width, stride)
        net.add(f"res{place}", (shortcut, changed))
        net.relu(f"res{place}_relu")


def _two_of_three(net: Sketch, place: str, of: str, width: int, stride: int) -> str:
    net.last = of
    _unit(net, f"{place}_branch2a", width, 3, relu=True, stride=stride)
    return _unit(net, f"{place}_branch2b", width, 3, relu=False)


def _bottleneck(net: Sketch, place: str, of: str, width: int, stride: int) -> str:
    net.last = of
    _unit(net, f"{place}_branch2a", width, 1, relu=True, stride=stride)
    _unit(net, f"{place}_branch2b", width, 3, relu=True)
    return _unit(net, f"{place}_branch2c", 4 * width, 1, relu=False)


def _grouped_bottleneck(net: Sketch, place: str, of: str, width: int, stride: int) -> str:
    """Add 32 paths as one convolution of 32 groups; 4 channels each in the first stage."""
    net.last = of
    _unit(net, f"{place}_branch2a", 2 * width, 1, relu=True)
    _unit(net, f"{place}_branch2b", 2 * width, 3, relu=True, stride=stride, groups=32)
    return _unit(net, f"{place}_branch2c", 4 * width, 1, relu=False)


def resnet18(net: Sketch) -> None:
    """Add ResNet-18: blocks of two 3x3 convolutions."""
    _stem(net, bias=False)
    _residual(net, STAGES_18, _two_of_three, widening=1)
    _classes(net)


def resnet(net: Sketch, stages: Stages) -> None:
    """Add a deeper ResNet: bottlenecks, halved in size by their first convolution.

    In the authors' files, only ResNet-50 has a bias in its first convolution.
    """
    _stem(net, bias=stages == STAGES_50)
    _residual(net, stages, _bottleneck, widening=4)
    _classes(net)


def resnext50(net: Sketch) -> None:
    """Add ResNeXt-50 (32x4d)."""
    _stem(net, bias=False)
    _residual(net, STAGES_50, _grouped_bottleneck, widening=4)
    _classes(net)


def resnet50_v2(net: Sketch) -> None:
    """Add ResNet-50 v2: normalization and ReLU come before every convolution, and nothing after the sum."""
    _stem(net, bias=False)
    for stage, block, place in places(STAGES_50):
        net.section(f"block {place}")
        entrance, width = net.last, 64 << (stage - 2)
        stride = 2 if block == 0 and stage > 2 else 1
        # The input of the very first block is normalized in the stem.
        active = entrance if (stage, block) == (2, 0) else _activation(net, f"{place}_branch2a")
        shortcut = entrance
        if block == 0:
            shortcut = net.conv(f"res{place}_branch1", 4 * width, 1, stride=stride, bias=False, of=active)
        net.conv(f"res{place}_branch2a", width, 1, bias=False, of=active)
        _activation(net, f"{place}_branch2b")
        net.conv(f"res{place}_branch2b", width, 3, stride=stride, pad=1, bias=False)
        _activation(net, f"{place}_branch2c")
        changed = net.conv(f"res{place}_branch2c", 4 * width, 1, bias=False)
        net.add(f"res{place}", (shortcut, changed))
    net.section("end")
    _activation(net, "5c_branch3")
    _classes(net)


def _activation(net: Sketch, place: str) -> str:
    """Add normalization and ReLU before a convolution; they do not overwrite their input."""
    net.batch_norm(f"bn{place}", into=f"bn{place}")
    net.scale(f"scale{place}")
    return net.relu(f"relu{place}")


def se_resnet50(net: Sketch) -> None:
    """Add SE-ResNet-50: a gate scales every channel of a residual branch by a function of all their means."""
    net.section("stem")
    _named_unit(net, "conv1/7x7_s2", 64, 7, stride=2)
    net.relu("conv1/relu_7x7_s2")
    net.pool("pool1/3x3_s2", 3, 2)
    for stage, block, _ in places(STAGES_50):
        place = f"conv{stage}_{block + 1}"
        net.section(f"block {stage}_{block + 1}")
        entrance, width = net.last, 64 << (stage - 2)
        stride = 2 if block == 0 and stage > 2 else 1
        _named_unit(net, f"{place}_1x1_reduce", width, 1, stride=stride)
        net.relu(f"{place}_1x1_reduce/relu")
        _named_unit(net, f"{place}_3x3", width, 3)
        net.relu(f"{place}_3x3/relu")
        changed = _named_unit(net, f"{place}_1x1_increase", 4 * width, 1)
        gate = _gate(net, place, 4 * width)
        shortcut = entrance
        if block == 0:
            net.last = entrance
            shortcut = _named_unit(net, f"{place}_1x1_proj", 4 * width, 1, stride=stride)
        net.axpy(place, gate, changed, plus=shortcut)
        net.relu(f"{place}/relu")
    net.section("classes")
    net.pool("pool5/7x7_s1", 7, 1, method="AVE")
    net.fc("classifier", 1000)
    net.softmax()


def _named_unit(net: Sketch, name: str, outputs: int, kernel: int, stride: int = 1) -> str:
    net.conv(name, outputs, kernel, stride=stride, pad=kernel // 2, bias=False)
    net.batch_norm(f"{name}/bn")
    return net.scale(f"{name}/bn/scale")


def _gate(net: Sketch, place: str, channels: int) -> str:
    net.global_average(f"{place}_global_pool")
    net.conv(f"{place}_1x1_down", channels // 16, 1)
    net.relu(f"{place}_1x1_down/relu")
    net.conv(f"{place}_1x1_up", channels, 1)
    return net.sigmoid(f"{place}_prob")


#: Dense layers of the four blocks, and the channels that each of them adds.
DENSE_BLOCKS, GROWTH = (6, 12, 24, 16), 32


def densenet121(net: Sketch) -> None:
    """Add DenseNet-121: every layer reads the outputs of all earlier layers of its block."""
    net.section("stem")
    net.conv("conv1", 64, 7, stride=2, pad=3, bias=False)
    _dense_activation(net, "conv1", "relu1")
    net.pool("pool1", 3, 2, pad=1, ceil_mode=False)
    channels = 64
    for block, layers in enumerate(DENSE_BLOCKS, start=2):
        for layer in range(1, layers + 1):
            net.section(f"dense {block}_{layer}")
            _dense_layer(net, f"{block}_{layer}")
        channels += layers * GROWTH
        net.section(f"end of block {block}")
        _dense_activation(net, f"conv{block}_blk", f"relu{block}_blk")
        if block < 5:
            channels //= 2
            net.conv(f"conv{block}_blk", channels, 1, bias=False)
            net.pool(f"pool{block}", 2, 2, method="AVE")
    net.section("classes")
    net.global_average("pool5")
    net.conv("fc6", 1000, 1)
    net.softmax()


def _dense_layer(net: Sketch, place: str) -> None:
    known = net.last
    for part, outputs, kernel in (("x1", 4 * GROWTH, 1), ("x2", GROWTH, 3)):
        _dense_activation(net, f"conv{place}/{part}", f"relu{place}/{part}")
        net.conv(f"conv{place}/{part}", outputs, kernel, pad=kernel // 2, bias=False)
    net.concat(f"concat_{place}", (known, net.last))


def _dense_activation(net: Sketch, name: str, relu: str) -> None:
    net.batch_norm(f"{name}/bn", into=f"{name}/bn")
    net.scale(f"{name}/scale")
    net.relu(relu)
