"""The first two nets of the zoo that are made of Inception modules: GoogLeNet and BN-Inception."""

from collections.abc import Sequence

from zoo_text import Sketch

#: Module -> channels of 1x1, 3x3 reduce, 3x3, 5x5 reduce, 5x5 and pool projection (Szegedy et al. 2015,
#: table 1).
GOOGLENET_MODULES = {
    "3a": (64, 96, 128, 16, 32, 32),
    "3b": (128, 128, 192, 32, 96, 64),
    "4a": (192, 96, 208, 16, 48, 64),
    "4b": (160, 112, 224, 24, 64, 64),
    "4c": (128, 128, 256, 24, 64, 64),
    "4d": (112, 144, 288, 32, 64, 64),
    "4e": (256, 160, 320, 32, 128, 128),
    "5a": (256, 160, 320, 32, 128, 128),
    "5b": (384, 192, 384, 48, 128, 128),
}

#: Module -> channels of 1x1, 3x3 reduce, 3x3, double 3x3 reduce, double 3x3 and pool projection, and what
#: pools (Ioffe and Szegedy 2015, figure 5). A module without a 1x1 convolution halves height and width.
BN_INCEPTION_MODULES = {
    "3a": (64, 64, 64, 64, 96, 32, "AVE"),
    "3b": (64, 64, 96, 64, 96, 64, "AVE"),
    "3c": (0, 128, 160, 64, 96, 0, "MAX"),
    "4a": (224, 64, 96, 96, 128, 128, "AVE"),
    "4b": (192, 96, 128, 96, 128, 128, "AVE"),
    "4c": (160, 128, 160, 128, 160, 96, "AVE"),
    "4d": (96, 128, 192, 160, 192, 96, "AVE"),
    "4e": (0, 128, 192, 192, 256, 0, "MAX"),
    "5a": (352, 192, 320, 160, 224, 128, "AVE"),
    "5b": (352, 192, 320, 192, 224, 128, "MAX"),
}


def googlenet(net: Sketch) -> None:
    """Add GoogLeNet without the auxiliary classifiers of training."""
    net.section("stem")
    _rectified(net, "conv1", "7x7_s2", 64, 7, stride=2)
    net.pool("pool1/3x3_s2", 3, 2)
    net.lrn("pool1/norm1")
    _rectified(net, "conv2", "3x3_reduce", 64, 1)
    _rectified(net, "conv2", "3x3", 192, 3)
    net.lrn("conv2/norm2")
    net.pool("pool2/3x3_s2", 3, 2)
    for module, channels in GOOGLENET_MODULES.items():
        net.section(f"inception {module}")
        _googlenet_module(net, f"inception_{module}", channels)
        if module in {"3b", "4e"}:
            net.section()
            net.pool(f"pool{int(module[0])}/3x3_s2", 3, 2)
    _googlenet_classes(net)


def _googlenet_classes(net: Sketch) -> None:
    net.section("classes")
    net.pool("pool5/7x7_s1", 7, 1, method="AVE")
    net.dropout("pool5/drop_7x7_s1", 0.4)
    net.fc("loss3/classifier", 1000)
    net.softmax()


def _rectified(net: Sketch, module: str, place: str, outputs: int, kernel: int, stride: int = 1) -> str:
    net.conv(f"{module}/{place}", outputs, kernel, stride=stride, pad=kernel // 2)
    return net.relu(f"{module}/relu_{place.removesuffix('_s2')}")


def _googlenet_module(net: Sketch, module: str, channels: Sequence[int]) -> None:
    entrance = net.last
    one, reduce_3, three, reduce_5, five, projection = channels
    branches = [_rectified(net, module, "1x1", one, 1)]
    for place, reduce, outputs, kernel in (("3x3", reduce_3, three, 3), ("5x5", reduce_5, five, 5)):
        net.last = entrance
        _rectified(net, module, f"{place}_reduce", reduce, 1)
        branches.append(_rectified(net, module, place, outputs, kernel))
    net.pool(f"{module}/pool", 3, 1, pad=1, of=entrance)
    branches.append(_rectified(net, module, "pool_proj", projection, 1))
    net.concat(f"{module}/output", branches)


def bn_inception(net: Sketch) -> None:
    """Add BN-Inception: GoogLeNet with batch normalization and pairs of 3x3 in place of 5x5 convolutions."""
    net.section("stem")
    _normalized(net, "conv1/7x7_s2", 64, 7, stride=2)
    net.pool("pool1/3x3_s2", 3, 2)
    _normalized(net, "conv2/3x3_reduce", 64, 1)
    _normalized(net, "conv2/3x3", 192, 3)
    net.pool("pool2/3x3_s2", 3, 2)
    for module, channels in BN_INCEPTION_MODULES.items():
        net.section(f"inception {module}")
        _bn_module(net, f"inception_{module}", channels)
    net.section("classes")
    net.pool("pool5/7x7_s1", 7, 1, method="AVE")
    net.fc("loss3/classifier", 1000)
    net.softmax()


def _normalized(net: Sketch, name: str, outputs: int, kernel: int, *, stride: int = 1) -> str:
    net.conv(name, outputs, kernel, stride=stride, pad=kernel // 2, bias=False)
    net.batch_norm(f"{name}/bn", into=f"{name}/bn")
    net.scale(f"{name}/bn/sc", into=f"{name}/bn/sc")
    return net.relu(f"{name}/bn/sc/relu")


def _bn_module(net: Sketch, module: str, channels: tuple[int, int, int, int, int, int, str]) -> None:
    entrance = net.last
    one, reduce_3, three, reduce_double, double, projection, pooling = channels
    stride = 1 if one else 2
    branches = [_normalized(net, f"{module}/1x1", one, 1)] if one else []
    net.last = entrance
    _normalized(net, f"{module}/3x3_reduce", reduce_3, 1)
    branches.append(_normalized(net, f"{module}/3x3", three, 3, stride=stride))
    net.last = entrance
    _normalized(net, f"{module}/double3x3_reduce", reduce_double, 1)
    _normalized(net, f"{module}/double3x3a", double, 3)
    branches.append(_normalized(net, f"{module}/double3x3b", double, 3, stride=stride))
    pad = 1 if one else None
    branches.append(net.pool(f"{module}/pool", 3, stride, method=pooling, pad=pad, of=entrance))
    if projection:
        branches[-1] = _normalized(net, f"{module}/pool_proj", projection, 1)
    net.concat(f"{module}/output", branches)
