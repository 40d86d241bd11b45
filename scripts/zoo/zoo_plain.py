"""The nets of the zoo that are a chain of layers (except SqueezeNet) without batch normalization."""

from zoo_text import IMAGE, Sketch

Channels = tuple[int, ...]


def lenet(net: Sketch) -> None:
    """Add LeNet in Caffe's version: one ReLU instead of sigmoids."""
    net.section()
    net.conv("conv1", 20, 5)
    net.pool("pool1", 2, 2)
    net.conv("conv2", 50, 5)
    net.pool("pool2", 2, 2)
    net.fc("ip1", 500)
    net.relu("relu1")
    net.fc("ip2", 10)
    net.softmax()


def alexnet(net: Sketch) -> None:
    """Add AlexNet: each normalization before its pooling."""
    net.section("conv1")
    net.conv("conv1", 96, 11, stride=4)
    net.relu("relu1")
    net.lrn("norm1")
    net.pool("pool1", 3, 2)
    net.section("conv2")
    net.conv("conv2", 256, 5, pad=2, groups=2)
    net.relu("relu2")
    net.lrn("norm2")
    net.pool("pool2", 3, 2)
    _conv3_to_conv5(net)
    _hidden(net)
    _classes(net)


def caffenet(net: Sketch) -> None:
    """Add CaffeNet: AlexNet with each pooling before its normalization."""
    _caffenet_up_to_fc7(net)
    _classes(net)


def rcnn(net: Sketch) -> None:
    """Add the net of R-CNN: CaffeNet with the scores of 200 linear classifiers."""
    _caffenet_up_to_fc7(net)
    net.section("scores")
    net.fc("fc-rcnn", 200)


def _caffenet_up_to_fc7(net: Sketch) -> None:
    net.section("conv1")
    net.conv("conv1", 96, 11, stride=4)
    net.relu("relu1")
    net.pool("pool1", 3, 2)
    net.lrn("norm1")
    net.section("conv2")
    net.conv("conv2", 256, 5, pad=2, groups=2)
    net.relu("relu2")
    net.pool("pool2", 3, 2)
    net.lrn("norm2")
    _conv3_to_conv5(net)
    _hidden(net)


def _conv3_to_conv5(net: Sketch) -> None:
    net.section("conv3 to conv5")
    net.conv("conv3", 384, 3, pad=1)
    net.relu("relu3")
    net.conv("conv4", 384, 3, pad=1, groups=2)
    net.relu("relu4")
    net.conv("conv5", 256, 3, pad=1, groups=2)
    net.relu("relu5")
    net.pool("pool5", 3, 2)


def _hidden(net: Sketch, outputs: int = 4096) -> None:
    """Add fc6 and fc7."""
    for number in (6, 7):
        net.section(f"fc{number}")
        net.fc(f"fc{number}", outputs)
        net.relu(f"relu{number}")
        net.dropout(f"drop{number}", 0.5)


def _classes(net: Sketch, count: int = 1000) -> None:
    net.section("classes")
    net.fc("fc8", count)
    net.softmax()


def age_gender(net: Sketch, classes: int) -> None:
    """Add the net of Levi and Hassner: three convolutions."""
    net.section("conv1 to conv3")
    for number, (outputs, kernel, stride, pad) in enumerate(
        ((96, 7, 4, 0), (256, 5, 1, 2), (384, 3, 1, 1)), start=1
    ):
        net.conv(f"conv{number}", outputs, kernel, stride=stride, pad=pad)
        net.relu(f"relu{number}")
        if number == 3:
            net.pool("pool5", 3, 2)
        else:
            net.pool(f"pool{number}", 3, 2)
            net.lrn(f"norm{number}")
    _hidden(net, 512)
    _classes(net, classes)


def cnn_f(net: Sketch) -> None:
    """Add CNN-F (fast)."""
    _devil_conv(net, 1, 64, 11, stride=4, norm=True, pool=2)
    _devil_conv(net, 2, 256, 5, pad=2, norm=True, pool=2)
    _devil_top(net, 256, pool=2)


def cnn_m(net: Sketch) -> None:
    """Add CNN-M (medium)."""
    _devil_conv(net, 1, 96, 7, stride=2, norm=True, pool=2)
    _devil_conv(net, 2, 256, 5, stride=2, pad=1, norm=True, pool=2)
    _devil_top(net, 512, pool=2)


def cnn_s(net: Sketch) -> None:
    """Add CNN-S (slow). Its conv2 is not padded: the paper's table has 1, but the authors' own file 0."""
    _devil_conv(net, 1, 96, 7, stride=2, norm=True, pool=3)
    _devil_conv(net, 2, 256, 5, norm=False, pool=2, kernel_of_pool=2)
    _devil_top(net, 512, pool=3)


def _devil_conv(
    net: Sketch,
    number: int,
    outputs: int,
    kernel: int,
    *,
    norm: bool,
    pool: int,
    stride: int = 1,
    pad: int = 0,
    kernel_of_pool: int = 3,
) -> None:
    """Add a convolution and a pooling layer that divides height and width by `pool`."""
    net.section(f"conv{number}")
    net.conv(f"conv{number}", outputs, kernel, stride=stride, pad=pad)
    net.relu(f"relu{number}")
    if norm:
        net.lrn(f"norm{number}", alpha=0.0005, k=2)
    net.pool(f"pool{number}", kernel_of_pool, pool)


def _devil_top(net: Sketch, channels: int, pool: int) -> None:
    net.section("conv3 to conv5")
    for number in (3, 4, 5):
        net.conv(f"conv{number}", channels, 3, pad=1)
        net.relu(f"relu{number}")
    net.pool("pool5", 3, pool)
    _hidden(net)
    _classes(net)


#: Convolutions of every block of VGG's configurations D and E, and their channels.
VGG16_BLOCKS, VGG19_BLOCKS = (2, 2, 3, 3, 3), (2, 2, 4, 4, 4)
VGG_CHANNELS = (64, 128, 256, 512, 512)


def vgg(net: Sketch, blocks: Channels) -> None:
    """Add a net of VGG."""
    _vgg_blocks(net, blocks)
    _hidden(net)
    _classes(net)


def _vgg_blocks(net: Sketch, blocks: Channels, first_pad: int = 1) -> None:
    for number, (convolutions, channels) in enumerate(zip(blocks, VGG_CHANNELS, strict=True), start=1):
        net.section(f"block {number}")
        for place in range(1, convolutions + 1):
            pad = first_pad if (number, place) == (1, 1) else 1
            net.conv(f"conv{number}_{place}", channels, 3, pad=pad)
            net.relu(f"relu{number}_{place}")
        net.pool(f"pool{number}", 2, 2)


def fcn32s(net: Sketch) -> None:
    """Add FCN-32s: VGG16 as convolutions; its 21 scores are drawn 32 times as large, and cut to the image.

    The first convolution is padded by 100 pixels so that the scores cover the whole image.
    """
    _vgg_blocks(net, VGG16_BLOCKS, first_pad=100)
    for number, kernel in ((6, 7), (7, 1)):
        net.section(f"fc{number}")
        net.conv(f"fc{number}", 4096, kernel)
        net.relu(f"relu{number}")
        net.dropout(f"drop{number}", 0.5)
    net.section("scores")
    net.conv("score_fr", 21, 1)
    upscore = net.conv("upscore", 21, 64, stride=32, bias=False, kind="Deconvolution")
    net.crop("score", upscore, like=IMAGE, offset=19)


def nin(net: Sketch) -> None:
    """Add Network in Network: two 1x1 convolutions after every other one, and no inner product."""
    blocks = (
        ("conv1", (96, 11, 4, 0), ("cccp1", 96), ("cccp2", 96), (0, 1, 2)),
        ("conv2", (256, 5, 1, 2), ("cccp3", 256), ("cccp4", 256), (3, 5, 6)),
        ("conv3", (384, 3, 1, 1), ("cccp5", 384), ("cccp6", 384), (7, 8, 9)),
        ("conv4-1024", (1024, 3, 1, 1), ("cccp7-1024", 1024), ("cccp8-1024", 1000), (10, 11, 12)),
    )
    for number, (name, (outputs, kernel, stride, pad), first, second, relus) in enumerate(blocks, start=1):
        net.section(f"block {number}")
        if number == 4:
            net.dropout("drop", 0.5)
        net.conv(name, outputs, kernel, stride=stride, pad=pad)
        net.relu(f"relu{relus[0]}")
        for (mixing, channels), relu in zip((first, second), relus[1:], strict=True):
            net.conv(mixing, channels, 1)
            net.relu(f"relu{relu}")
        if number < 4:
            net.pool(f"pool{number}", 3, 2)
    net.section("classes")
    net.pool("pool4", 6, 1, method="AVE")
    net.softmax()


#: Channels of a fire module's squeezing convolution and of each of the two that expand.
FIRES = {
    2: (16, 64),
    3: (16, 64),
    4: (32, 128),
    5: (32, 128),
    6: (48, 192),
    7: (48, 192),
    8: (64, 256),
    9: (64, 256),
}


def squeezenet_1_0(net: Sketch) -> None:
    """Add SqueezeNet 1.0, whose scores are padded in the authors' file, too."""
    _squeezenet(net, (96, 7), pools=(4, 8), pad_of_scores=1)


def squeezenet_1_1(net: Sketch) -> None:
    """Add SqueezeNet 1.1: fewer and smaller filters at the bottom, and pooling earlier."""
    _squeezenet(net, (64, 3), pools=(3, 5), pad_of_scores=0)


def _squeezenet(net: Sketch, stem: tuple[int, int], pools: tuple[int, int], pad_of_scores: int) -> None:
    net.section("stem")
    net.conv("conv1", *stem, stride=2)
    net.relu("relu_conv1")
    net.pool("pool1", 3, 2)
    for number, (narrow, wide) in FIRES.items():
        net.section(f"fire {number}")
        _fire(net, f"fire{number}", narrow, wide)
        if number in pools:
            net.section()
            net.pool(f"pool{number}", 3, 2)
    net.section("classes")
    net.dropout("drop9", 0.5)
    net.conv("conv10", 1000, 1, pad=pad_of_scores)
    net.relu("relu_conv10")
    net.global_average("pool10")
    net.softmax()


def _fire(net: Sketch, name: str, narrow: int, wide: int) -> None:
    net.conv(f"{name}/squeeze1x1", narrow, 1)
    squeezed = net.relu(f"{name}/relu_squeeze1x1")
    expanded = []
    for kernel in (1, 3):
        place = f"expand{kernel}x{kernel}"
        net.conv(f"{name}/{place}", wide, kernel, pad=kernel // 2, of=squeezed)
        expanded.append(net.relu(f"{name}/relu_{place}"))
    net.concat(f"{name}/concat", expanded)
