"""The table of the zoo: the nets, their publications, and the preprocessing of their inputs."""

from collections.abc import Callable, Mapping
from functools import partial

import zoo_factored
import zoo_inception
import zoo_mobile
import zoo_plain
import zoo_residual
from zoo_entry import BVLC, CENTRED, DIGITS, FACES, FCN, RESNET, SENET, SMALL, VGG, ZooNet
from zoo_text import Sketch

KRIZHEVSKY = (
    "A. Krizhevsky, I. Sutskever, G. E. Hinton: ImageNet Classification with Deep Convolutional Neural "
    "Networks. NIPS 2012."
)
CHATFIELD = (
    "K. Chatfield, K. Simonyan, A. Vedaldi, A. Zisserman: Return of the Devil in the Details: Delving Deep "
    "into Convolutional Nets. BMVC 2014."
)
SIMONYAN = (
    "K. Simonyan, A. Zisserman: Very Deep Convolutional Networks for Large-Scale Image Recognition. "
    "ICLR 2015."
)
IANDOLA = (
    "F. N. Iandola et al.: SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and <0.5MB model "
    "size. arXiv:1602.07360, 2016."
)
HE = "K. He, X. Zhang, S. Ren, J. Sun: Deep Residual Learning for Image Recognition. CVPR 2016."
SZEGEDY_V4 = (
    "C. Szegedy, S. Ioffe, V. Vanhoucke, A. Alemi: Inception-v4, Inception-ResNet and the Impact of Residual "
    "Connections on Learning. AAAI 2017."
)
LEVI = (
    "G. Levi, T. Hassner: Age and Gender Classification using Convolutional Neural Networks. "
    "CVPR workshops 2015."
)

MODEL_ZOO = "of the Caffe model zoo"
OWN_NAMES = "Names of layers are our own: no weights were published under them."


def _resnet(depth: int, build: Callable[[Sketch], None]) -> ZooNet:
    return ZooNet(
        title=f"ResNet-{depth}",
        source=HE,
        name=f"ResNet-{depth}",
        build=build,
        side=224,
        preprocessing=RESNET,
        weights=f"ResNet-{depth}-model.caffemodel",
        switch="conv1",
    )


def _cnn(letter: str, meaning: str, build: Callable[[Sketch], None]) -> ZooNet:
    return ZooNet(
        title=f"CNN-{letter} ({meaning})",
        source=CHATFIELD,
        name=f"VGG_CNN_{letter}",
        build=build,
        side=224,
        preprocessing=VGG,
        weights=f"VGG_CNN_{letter}.caffemodel",
        switch="conv2",
    )


def _squeezenet(version: str, build: Callable[[Sketch], None]) -> ZooNet:
    return ZooNet(
        title=f"SqueezeNet {version}",
        source=IANDOLA,
        name=f"SqueezeNet_v{version}",
        build=build,
        side=227,
        preprocessing=SENET,
        weights=f"squeezenet_v{version}.caffemodel",
        switch="fire3/expand3x3",
    )


def _faces(what: str, classes: int) -> ZooNet:
    return ZooNet(
        title=f"{what.capitalize()} net of Levi and Hassner",
        source=LEVI,
        name=f"{what}_net",
        build=partial(zoo_plain.age_gender, classes=classes),
        side=227,
        preprocessing=FACES,
        weights=f"{what}_net.caffemodel",
        switch="conv1",
        classes=classes,
        labels=f"{what}_labels.txt",
    )


def _large_inception(title: str, source: str, build: Callable[[Sketch], None], switch: str) -> ZooNet:
    name = title.lower().replace(" ", "_").replace("-", "_")
    return ZooNet(
        title=title,
        source=source,
        name=name,
        build=build,
        side=299,
        resized=320,
        preprocessing=CENTRED,
        weights=f"{name}.caffemodel",
        switch=switch,
        notes=OWN_NAMES,
    )


#: Name of the net's files -> the net.
ZOO: Mapping[str, ZooNet] = {
    "lenet": ZooNet(
        title="LeNet, as Caffe's example has it",
        source="Y. LeCun, L. Bottou, Y. Bengio, P. Haffner: Gradient-Based Learning Applied to Document "
        "Recognition. Proceedings of the IEEE 1998.",
        name="LeNet",
        build=zoo_plain.lenet,
        channels=1,
        side=28,
        resized=28,
        preprocessing=DIGITS,
        classes=10,
        labels="digits.txt",
        weights="lenet_iter_10000.caffemodel",
        switch="conv1",
    ),
    "alexnet": ZooNet(
        title="BVLC AlexNet",
        source=KRIZHEVSKY,
        name="AlexNet",
        build=zoo_plain.alexnet,
        side=227,
        preprocessing=BVLC,
        weights="bvlc_alexnet.caffemodel",
        switch="conv2",
    ),
    "caffenet": ZooNet(
        title="BVLC Reference CaffeNet: AlexNet with each pooling before its normalization",
        source=f"{KRIZHEVSKY} Weights: bvlc_reference_caffenet.caffemodel {MODEL_ZOO}.",
        name="CaffeNet",
        build=zoo_plain.caffenet,
        side=227,
        preprocessing=BVLC,
        weights="bvlc_reference_caffenet.caffemodel",
        switch="conv2",
        folder="../caffenet",
    ),
    "rcnn": ZooNet(
        title="BVLC Reference R-CNN ILSVRC13: CaffeNet with 200 linear classifiers on top",
        source="R. Girshick, J. Donahue, T. Darrell, J. Malik: Rich Feature Hierarchies for Accurate Object "
        "Detection and Semantic Segmentation. CVPR 2014.",
        name="R-CNN-ilsvrc13",
        build=zoo_plain.rcnn,
        side=227,
        preprocessing=BVLC,
        classes=200,
        labels="../det_synset_words.txt",
        weights="bvlc_reference_rcnn_ilsvrc13.caffemodel",
        switch="conv2",
    ),
    "googlenet": ZooNet(
        title="BVLC GoogLeNet, without the auxiliary classifiers of training",
        source="C. Szegedy et al.: Going Deeper with Convolutions. CVPR 2015.",
        name="GoogleNet",
        build=zoo_inception.googlenet,
        side=224,
        preprocessing=SENET,
        weights="bvlc_googlenet.caffemodel",
        switch="conv2/3x3",
        notes=f"Weights: bvlc_googlenet.caffemodel {MODEL_ZOO}.",
        folder="../googlenet",
    ),
    "vgg16": ZooNet(
        title="VGG ILSVRC 16 layers (configuration D)",
        source=f"{SIMONYAN} Weights: VGG_ILSVRC_16_layers.caffemodel of the authors' page.",
        name="VGG_ILSVRC_16_layers",
        build=partial(zoo_plain.vgg, blocks=zoo_plain.VGG16_BLOCKS),
        side=224,
        preprocessing=VGG,
        weights="VGG_ILSVRC_16_layers.caffemodel",
        switch="conv2_2",
        folder="../vgg16",
    ),
    "vgg19": ZooNet(
        title="VGG ILSVRC 19 layers (configuration E)",
        source=SIMONYAN,
        name="VGG_ILSVRC_19_layers",
        build=partial(zoo_plain.vgg, blocks=zoo_plain.VGG19_BLOCKS),
        side=224,
        preprocessing=VGG,
        weights="VGG_ILSVRC_19_layers.caffemodel",
        switch="conv2_2",
    ),
    "cnn_f": _cnn("F", "fast", zoo_plain.cnn_f),
    "cnn_m": _cnn("M", "medium", zoo_plain.cnn_m),
    "cnn_s": _cnn("S", "slow", zoo_plain.cnn_s),
    "nin": ZooNet(
        title="Network in Network for ImageNet",
        source="M. Lin, Q. Chen, S. Yan: Network In Network. ICLR 2014.",
        name="nin_imagenet",
        build=zoo_plain.nin,
        side=224,
        preprocessing=BVLC,
        weights="nin_imagenet.caffemodel",
        switch="cccp2",
    ),
    "squeezenet_v1.0": _squeezenet("1.0", zoo_plain.squeezenet_1_0),
    "squeezenet_v1.1": _squeezenet("1.1", zoo_plain.squeezenet_1_1),
    "resnet18": _resnet(18, zoo_residual.resnet18),
    "resnet50": _resnet(50, partial(zoo_residual.resnet, stages=zoo_residual.STAGES_50)),
    "resnet101": _resnet(101, partial(zoo_residual.resnet, stages=zoo_residual.STAGES_101)),
    "resnet152": _resnet(152, partial(zoo_residual.resnet, stages=zoo_residual.STAGES_152)),
    "resnet50_v2": ZooNet(
        title="ResNet-50 v2: normalization and ReLU before the convolutions",
        source="K. He, X. Zhang, S. Ren, J. Sun: Identity Mappings in Deep Residual Networks. ECCV 2016.",
        name="ResNet-50-v2",
        build=zoo_residual.resnet50_v2,
        side=224,
        preprocessing=RESNET,
        weights="resnet50_v2.caffemodel",
        switch="conv1",
        notes=OWN_NAMES,
    ),
    "resnext50": ZooNet(
        title="ResNeXt-50 (32x4d)",
        source="S. Xie, R. Girshick, P. Dollár, Z. Tu, K. He: Aggregated Residual Transformations for Deep "
        "Neural Networks. CVPR 2017.",
        name="ResNeXt-50",
        build=zoo_residual.resnext50,
        side=224,
        preprocessing=SMALL,
        weights="resnext50.caffemodel",
        switch="conv1",
        notes=OWN_NAMES,
    ),
    "bn_inception": ZooNet(
        title="BN-Inception, without the auxiliary classifiers of training",
        source="S. Ioffe, C. Szegedy: Batch Normalization: Accelerating Deep Network Training by Reducing "
        "Internal Covariate Shift. ICML 2015.",
        name="BN-Inception",
        build=zoo_inception.bn_inception,
        side=224,
        preprocessing=SENET,
        weights="bn_inception.caffemodel",
        switch="conv2/3x3",
    ),
    "inception_v3": _large_inception(
        "Inception v3",
        "C. Szegedy, V. Vanhoucke, S. Ioffe, J. Shlens, Z. Wojna: Rethinking the Inception Architecture for "
        "Computer Vision. CVPR 2016.",
        zoo_factored.inception_v3,
        "conv4_3x3",
    ),
    "inception_v4": _large_inception("Inception v4", SZEGEDY_V4, zoo_factored.inception_v4, "conv3_3x3_s1"),
    "inception_resnet_v2": _large_inception(
        "Inception-ResNet-v2", SZEGEDY_V4, zoo_factored.inception_resnet_v2, "conv4_3x3"
    ),
    "mobilenet_v1": ZooNet(
        title="MobileNet v1",
        source="A. G. Howard et al.: MobileNets: Efficient Convolutional Neural Networks for Mobile Vision "
        "Applications. arXiv:1704.04861, 2017.",
        name="MobileNet",
        build=zoo_mobile.mobilenet_v1,
        side=224,
        preprocessing=SMALL,
        weights="mobilenet.caffemodel",
        switch="conv1",
    ),
    "mobilenet_v2": ZooNet(
        title="MobileNet v2",
        source="M. Sandler, A. Howard, M. Zhu, A. Zhmoginov, L.-C. Chen: MobileNetV2: Inverted Residuals and "
        "Linear Bottlenecks. CVPR 2018.",
        name="MobileNet-v2",
        build=zoo_mobile.mobilenet_v2,
        side=224,
        preprocessing=SMALL,
        weights="mobilenet_v2.caffemodel",
        switch="conv1",
        notes="As in the paper. Public Caffe weights with these names are of a variant: it has a convolution "
        "conv2_1/expand, a ReLU in place of every ReLU6, and the stride of conv4_3/dwise in conv4_7/dwise.",
    ),
    "shufflenet": ZooNet(
        title="ShuffleNet (1x, 3 groups)",
        source="X. Zhang, X. Zhou, M. Lin, J. Sun: ShuffleNet: An Extremely Efficient Convolutional Neural "
        "Network for Mobile Devices. CVPR 2018.",
        name="shufflenet",
        build=zoo_mobile.shufflenet,
        side=224,
        preprocessing=SMALL,
        weights="shufflenet_1x_g3.caffemodel",
        switch="conv1",
        notes="As in the paper. Public Caffe weights with these names are of a variant: a unit that joins "
        "its branches has a quarter of what it writes itself inside, not a quarter of all channels.",
    ),
    "densenet121": ZooNet(
        title="DenseNet-121",
        source="G. Huang, Z. Liu, L. van der Maaten, K. Q. Weinberger: Densely Connected Convolutional "
        "Networks. CVPR 2017.",
        name="DENSENET_121",
        build=zoo_residual.densenet121,
        side=224,
        preprocessing=SMALL,
        weights="DenseNet_121.caffemodel",
        switch="conv1",
    ),
    "se_resnet50": ZooNet(
        title="SE-ResNet-50",
        source="J. Hu, L. Shen, G. Sun: Squeeze-and-Excitation Networks. CVPR 2018.",
        name="SE-ResNet-50",
        build=zoo_residual.se_resnet50,
        side=224,
        preprocessing=SENET,
        weights="SE-ResNet-50.caffemodel",
        switch="conv1/7x7_s2",
    ),
    "xception": _large_inception(
        "Xception",
        "F. Chollet: Xception: Deep Learning with Depthwise Separable Convolutions. CVPR 2017.",
        zoo_factored.xception,
        "conv2",
    ),
    "fcn32s": ZooNet(
        title="FCN-32s for the classes of PASCAL VOC",
        source="J. Long, E. Shelhamer, T. Darrell: Fully Convolutional Networks for Semantic Segmentation. "
        "CVPR 2015.",
        name="FCN-32s",
        build=zoo_plain.fcn32s,
        side=500,
        resized=500,
        preprocessing=FCN,
        classes=21,
        labels="voc_labels.txt",
        weights="fcn32s-heavy-pascal.caffemodel",
        switch="conv2_2",
        notes="Its scores are a map: one for every class and pixel.",
    ),
    "age": _faces("age", 8),
    "gender": _faces("gender", 2),
}

VOC = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow",
    "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train",
    "tvmonitor",
)  # fmt: skip

#: File of labels, from ``configs/zoo/`` -> its lines.
LABELS: Mapping[str, tuple[str, ...]] = {
    "digits.txt": tuple(map(str, range(10))),
    "voc_labels.txt": VOC,
    "age_labels.txt": ("0-2", "4-6", "8-13", "15-20", "25-32", "38-43", "48-53", "60-"),
    "gender_labels.txt": ("male", "female"),
}
