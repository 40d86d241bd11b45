"""Opening a net for inspection only, with or without its weights."""

from dataclasses import dataclass
from pathlib import Path

from caffe_lrp.formats.caffe.reader import StoredWeights, read_prototxt, scan_caffemodel
from caffe_lrp.machine.resources import available_memory
from caffe_lrp.net.build import build_net, build_outline
from caffe_lrp.net.deploy.deployed import DeployedNet, deploy, image_shape
from caffe_lrp.net.net import Net


@dataclass(frozen=True, eq=False)
class OpenedNet:
    """A net for inspection.

    Attributes
    ----------
    deployed
        The net as it is in its files.
    outline
        Its layers without weights.
    stored
        The weights as positions in the file; None: no caffemodel was given.
    net
        The net as it is in a run; the outline if no caffemodel was given.
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
    """The net in a prototxt; the arguments are the settings with the same names.

    Raises
    ------
    ModelError
        A file cannot be used, the weights do not fit, or the net's input is not an image.
    """
    spec = read_prototxt(prototxt)
    stored = None if caffemodel is None else scan_caffemodel(caffemodel)
    deployed = deploy(spec, stored, head, input_size)
    image_shape(deployed)  # as in a run: only nets for images can be explained
    outline = build_outline(deployed)
    net = outline if stored is None else build_net(deployed, stored, available_memory(), canonize)
    return OpenedNet(deployed, outline, stored, net)
