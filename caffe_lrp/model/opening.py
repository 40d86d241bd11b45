"""A net opened to be looked at, with its weights or without: nothing is explained with it."""

from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.formats.caffe.reader import StoredWeights, read_prototxt, scan_caffemodel
from caffe_lrp.machine.resources import available_memory
from caffe_lrp.net.build import build_net, build_outline
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy, image_shape
from caffe_lrp.net.net import Net


@dataclass(frozen=True, eq=False)
class OpenedNet:
    """A net as far as its files are there.

    Attributes
    ----------
    deployed
        The net as its files have it.
    outline
        Its layers without weights.
    stored
        Where the weights are; None: no caffemodel was given.
    net
        The net as a run has it; without a caffemodel the outline.
    """

    deployed: DeployedNet
    outline: Net
    stored: StoredWeights | None
    net: Net


def open_net(
    prototxt: Path,
    caffemodel: Path | None,
    head: str | None = None,
    input_size: tuple[int, int] | None = None,
    canonize: str = "auto",
) -> OpenedNet:
    """The net in a prototxt; the arguments are settings of the same names.

    Raises
    ------
    ModelError
        A file cannot be used, the weights do not fit, or the net's input is no image.
    """
    spec = read_prototxt(prototxt)
    stored = None if caffemodel is None else scan_caffemodel(caffemodel)
    deployed = deploy(spec, stored, head, input_size)
    image_shape(deployed)  # as a run has it: only nets for images can be explained
    outline = build_outline(deployed)
    net = outline if stored is None else build_net(deployed, stored, available_memory(), canonize)
    return OpenedNet(deployed, outline, stored, net)
