"""What is assumed about the input of a net where nobody says it."""

from pathlib import Path
from typing import Any

import pytest
from builders import deployed

from caffe_lrp.model.assumptions import assumed_settings
from caffe_lrp.model.settings import ModelSettings

DEPLOY = 'input: "data" input_shape { dim: 1 dim: CHANNELS dim: 20 dim: WIDTH } '
TRAINED = """
layer { name: "data" type: "ImageData" top: "data" top: "label"
  transform_param { crop_size: 20 MEAN } image_data_param { source: "train" IMAGES } }
"""
SCORES = (
    'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 6 } }'
)
IMAGENET = (104, 117, 123)


def assumed(folder: Path, text: str, **said: Any) -> dict[str, Any]:
    settings = ModelSettings(prototxt=Path("net.prototxt"), caffemodel=Path("net.caffemodel"), **said)
    return assumed_settings(deployed(folder, text + SCORES), settings, said)


@pytest.mark.parametrize(
    ("channels", "said", "mean"),
    [
        (3, {}, IMAGENET),
        (3, {"channel_order": "RGB"}, IMAGENET[::-1]),
        (1, {}, (0,)),
        (4, {}, (0,)),
        (3, {"mean_values": (1.0,)}, None),
        (3, {"mean_file": Path("mean.npy")}, None),
    ],
)
def test_a_mean_that_nobody_says_is_that_of_most_nets(
    channels: int, said: dict[str, Any], mean: tuple[int, ...] | None, tmp_path: Path
) -> None:
    text = DEPLOY.replace("CHANNELS", str(channels)).replace("WIDTH", "20")
    assert assumed(tmp_path, text, **said).get("mean_values") == mean


def test_a_whole_picture_becomes_a_square_input_unless_somebody_says_how(tmp_path: Path) -> None:
    square, wide = (DEPLOY.replace("CHANNELS", "3").replace("WIDTH", width) for width in ("20", "24"))
    assert assumed(tmp_path, square)["resize"] == "stretch"
    assert "resize" not in assumed(tmp_path, square, resize="short-side")
    assert "resize" not in assumed(tmp_path, wide)


def test_the_preprocessing_of_a_training_net_is_used(tmp_path: Path) -> None:
    text = TRAINED.replace("MEAN", "mean_value: 5").replace("IMAGES", "new_height: 32 new_width: 32")
    assert assumed(tmp_path, text) == {"resize": "stretch", "base_size": 32}
    assert assumed(tmp_path, text, base_size=24) == {"resize": "stretch"}
    uneven = text.replace("new_width: 32", "new_width: 40")
    assert assumed(tmp_path, uneven) == {"resize": "stretch"}
