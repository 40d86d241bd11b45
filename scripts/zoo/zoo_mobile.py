"""The nets of the zoo for mobile devices: depthwise convolutions."""

from zoo_text import Sketch

# --- MobileNet v1: Howard et al. 2017, table 1

#: Depthwise separable convolutions: name, channels, stride.
MOBILENET_UNITS = (
    ("2_1", 64, 1),
    ("2_2", 128, 2),
    ("3_1", 128, 1),
    ("3_2", 256, 2),
    ("4_1", 256, 1),
    ("4_2", 512, 2),
    ("5_1", 512, 1),
    ("5_2", 512, 1),
    ("5_3", 512, 1),
    ("5_4", 512, 1),
    ("5_5", 512, 1),
    ("5_6", 1024, 2),
    ("6", 1024, 1),
)


def mobilenet_v1(net: Sketch) -> None:
    """Add MobileNet v1 of full width."""
    net.section("stem")
    _unit(net, "", "1", 32, 3, stride=2)
    channels = 32
    for place, outputs, stride in MOBILENET_UNITS:
        net.section(place)
        _unit(net, "/dw", place, channels, 3, stride=stride, groups=channels)
        _unit(net, "/sep", place, outputs, 1)
        channels = outputs
    _classes(net)


def _unit(
    net: Sketch, part: str, place: str, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> str:
    """Add a convolution with batch normalization and ReLU."""
    net.conv(f"conv{place}{part}", outputs, kernel, stride=stride, pad=kernel // 2, groups=groups, bias=False)
    net.batch_norm(f"conv{place}{part}/bn")
    net.scale(f"conv{place}{part}/scale")
    return net.relu(f"relu{place}{part}")


def _classes(net: Sketch) -> None:
    net.section("classes")
    net.global_average("pool6")
    net.conv("fc7", 1000, 1)
    net.softmax()


# --- MobileNet v2: Sandler et al. 2018, table 2

#: Bottlenecks: name, expansion factor, channels, stride.
MOBILENET_V2_BLOCKS = (
    ("2_1", 1, 16, 1),
    ("2_2", 6, 24, 2),
    ("3_1", 6, 24, 1),
    ("3_2", 6, 32, 2),
    ("4_1", 6, 32, 1),
    ("4_2", 6, 32, 1),
    ("4_3", 6, 64, 2),
    ("4_4", 6, 64, 1),
    ("4_5", 6, 64, 1),
    ("4_6", 6, 64, 1),
    ("4_7", 6, 96, 1),
    ("5_1", 6, 96, 1),
    ("5_2", 6, 96, 1),
    ("5_3", 6, 160, 2),
    ("6_1", 6, 160, 1),
    ("6_2", 6, 160, 1),
    ("6_3", 6, 320, 1),
)


def mobilenet_v2(net: Sketch) -> None:
    """Add MobileNet v2 of full width: bottlenecks that end without a ReLU."""
    net.section("stem")
    _clipped_unit(net, "1", "", 32, 3, stride=2)
    channels = 32
    for place, factor, outputs, stride in MOBILENET_V2_BLOCKS:
        net.section(place)
        entrance, inside = net.last, factor * channels
        if factor > 1:
            _clipped_unit(net, place, "/expand", inside, 1)
        _clipped_unit(net, place, "/dwise", inside, 3, stride=stride, groups=inside)
        changed = _linear_unit(net, f"conv{place}/linear", outputs, 1)
        if stride == 1 and channels == outputs:
            net.add(f"block_{place}", (entrance, changed))
        channels = outputs
    net.section("end")
    _clipped_unit(net, "6_4", "", 1280, 1)
    _classes(net)


def _clipped_unit(
    net: Sketch, place: str, part: str, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> str:
    """Add a convolution with batch normalization and ReLU6."""
    _linear_unit(net, f"conv{place}{part}", outputs, kernel, stride=stride, groups=groups)
    return net.relu6(f"relu{place}{part}")


def _linear_unit(
    net: Sketch, name: str, outputs: int, kernel: int, *, stride: int = 1, groups: int = 1
) -> str:
    net.conv(name, outputs, kernel, stride=stride, pad=kernel // 2, groups=groups, bias=False)
    net.batch_norm(f"{name}/bn", into=f"{name}/bn")
    return net.scale(f"{name}/scale")


# --- ShuffleNet: Zhang et al. 2018, table 1, three groups

GROUPS = 3
#: Number of the units of every stage, and their channels.
SHUFFLENET_STAGES = ((4, 240), (8, 480), (4, 960))


def shufflenet(net: Sketch) -> None:
    """Add ShuffleNet of full width with three groups."""
    net.section("stem")
    net.conv("conv1", 24, 3, stride=2, pad=1, bias=False)
    _shuffle_norm(net, "conv1")
    net.relu("conv1_relu")
    net.pool("pool1", 3, 2)
    number, channels = 0, 24
    for units, outputs in SHUFFLENET_STAGES:
        for unit in range(units):
            number += 1
            net.section(f"resx{number}")
            _shuffle_unit(net, number, channels, outputs, halving=unit == 0)
            channels = outputs
    net.section("classes")
    net.global_average("pool_ave")
    net.conv("fc1000", 1000, 1)
    net.softmax()


def _shuffle_norm(net: Sketch, name: str) -> str:
    net.batch_norm(f"{name}_bn")
    return net.scale(f"{name}_scale")


def _shuffle_unit(net: Sketch, number: int, channels: int, outputs: int, *, halving: bool) -> None:
    """Add a unit; one that halves height and width joins its branches, the others add them up.

    The very first unit reads so few channels that its first convolution has a single group.
    """
    name, entrance = f"resx{number}", net.last
    shortcut = net.pool(f"{name}_match_conv", 3, 2, method="AVE") if halving else entrance
    written, inside = outputs - channels if halving else outputs, outputs // 4
    net.conv(f"{name}_conv1", inside, 1, groups=1 if number == 1 else GROUPS, bias=False, of=entrance)
    _shuffle_norm(net, f"{name}_conv1")
    net.relu(f"{name}_conv1_relu")
    if number > 1:
        net.shuffle(f"shuffle{number}", GROUPS)
    net.conv(
        f"{name}_conv2",
        inside,
        3,
        stride=2 if halving else 1,
        pad=1,
        groups=inside,
        bias=False,
        kind="ConvolutionDepthwise",
    )
    _shuffle_norm(net, f"{name}_conv2")
    net.conv(f"{name}_conv3", written, 1, groups=GROUPS, bias=False)
    changed = _shuffle_norm(net, f"{name}_conv3")
    if halving:
        net.concat(f"{name}_concat", (shortcut, changed))
        net.relu(f"{name}_concat_relu")
    else:
        net.add(f"{name}_elewise", (shortcut, changed))
        net.relu(f"{name}_elewise_relu")
