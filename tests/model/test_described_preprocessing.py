"""What a journal says of the preprocessing."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import deployed

from caffe_lrp.imaging.preprocess import Preprocessor
from caffe_lrp.model.preprocessing import describe_preprocessing, make_preprocessor
from caffe_lrp.model.settings import ModelSettings
from caffe_lrp.quirks import REFERENCE

NET = """
layer { name: "data" type: "Data" top: "data" top: "label" include { phase: TRAIN }
  transform_param { TRANSFORM } data_param { source: "train" batch_size: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc" inner_product_param { num_output: 6 } }
"""


def described(scale: float = 1.0, transform: str = "", **settings: Any) -> dict[str, Any]:
    """What is said of these settings; ``scale`` is what they and the prototxt amount to."""
    net = deployed(Path(), NET.replace("TRANSFORM", f"crop_size: 20 {transform}"))
    given = ModelSettings(prototxt=Path("deploy.prototxt"), caffemodel=Path("net.caffemodel"), **settings)
    preprocessor = Preprocessor(
        given.base_size or 20,
        20,
        14,
        np.zeros((3, 20, 14), np.float32),
        REFERENCE,
        channel_order=given.channel_order,
        resize_mode=given.resize,
        scale=scale,
    )
    return describe_preprocessing(given, net, preprocessor)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_the_description_of_the_config_has_absolute_paths(tmp_path: Path) -> None:
    assert described(
        0.5, mean_file=Path("mean.txt"), mean_format=0, input_scale=0.5, channel_order="RGB",
        resize="stretch", base_size=24,
    ) == {
        "mean_file": f"{tmp_path}/mean.txt",
        "mean_format": 0,
        "input_scale": 0.5,
        "channel_order": "RGB",
        "resize": "stretch",
        "base_size": 24,
        "crop": "center",
        "input_size": [20, 14],
        "from_prototxt": [],
    }  # fmt: skip


def test_what_the_input_is_divided_by_stands_in_place_of_the_factor() -> None:
    transform = "crop_size: 20 force_color: true scale: 0.25 mean_value: 5"
    net = deployed(Path(), NET.replace("TRANSFORM", transform))
    given = ModelSettings(prototxt=Path("p"), caffemodel=Path("c"), std_values=(2.0, 4.0, 8.0))
    preprocessor, notices = make_preprocessor(given, net)
    found = describe_preprocessing(given, net, preprocessor)
    assert (found["std_values"], "input_scale" in found) == ([2, 4, 8], False)
    assert (found["from_prototxt"], "scale" in notices[0]) == (["mean_values"], False)


def test_settings_taken_from_the_prototxt_are_named(tmp_path: Path) -> None:
    given = described(mean_values=(104.0, 117.0, 123.0))
    assert (given["mean_values"], given["base_size"], given["from_prototxt"]) == ([104, 117, 123], 20, [])
    found = described(0.25, "mean_value: 5 mean_value: 6 mean_value: 7 scale: 0.25")
    assert (found["mean_values"], found["input_scale"]) == ([5, 6, 7], 0.25)
    assert found["from_prototxt"] == ["mean_values", "input_scale"]
    image = described(transform='mean_file: "data/mean.binaryproto"')
    assert (image["mean_file"], image["mean_format"]) == (f"{tmp_path}/data/mean.binaryproto", 1)
    assert image["from_prototxt"] == ["mean_file"]
    assert described(transform="mirror: true")["mean_values"] == [0]
