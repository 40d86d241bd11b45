"""Which formula suits a net, and what the script counts that it was chosen by."""

from pathlib import Path

import numpy as np
import pytest
import visible_share
from builders import deployed
from PIL import Image

from caffe_lrp.net.build import build_outline
from caffe_lrp.relevance.advice import suitable_formula
from caffe_lrp.rendering.heatmap import heatmap_picture

HEAD = 'input: "data" input_shape { dim: 1 dim: CHANNELS dim: HEIGHT dim: WIDTH }\n'
BODY = """
layer { name: "relu" type: "ReLU" bottom: "LAST" top: "relu" }
layer { name: "wide" type: "Convolution" bottom: "relu" top: "wide"
  convolution_param { num_output: 4 kernel_size: 5 } }
layer { name: "fc" type: "InnerProduct" bottom: "wide" top: "fc" inner_product_param { num_output: 3 } }
"""


def convolution(name: str, sizes: str) -> str:
    return (
        f'layer {{ name: "{name}" type: "Convolution" bottom: "data" top: "{name}" '
        f"convolution_param {{ num_output: 2 {sizes} }} }}\n"
    )


def advice_for(folder: Path, text: str, shape: tuple[int, int, int]) -> tuple[str, str]:
    for name, size in zip(("CHANNELS", "HEIGHT", "WIDTH"), shape, strict=True):
        text = text.replace(name, str(size))
    net = build_outline(deployed(folder, text))
    found = suitable_formula(net, net.output_value)
    return str(found.formula), found.reason


@pytest.mark.parametrize(
    ("sizes", "shape", "formula"),
    [
        ("kernel_size: 5", (1, 28, 28), "epsilon-plus"),  # LeNet
        ("kernel_size: 3", (3, 32, 32), "epsilon-plus-flat"),  # ResNet-20
        ("kernel_size: 7 stride: 2", (3, 227, 227), "epsilon-plus-flat"),  # SqueezeNet
        ("kernel_size: 1", (3, 9, 11), "epsilon-plus-flat"),
        ("kernel_size: 3 dilation: 2", (3, 32, 32), "epsilon-plus-flat"),  # flat leaves gaps in the window
        ("kernel_h: 9 kernel_w: 1", (2, 40, 8), "epsilon-plus"),
    ],
)
def test_flat_suits_nets_whose_lowest_windows_are_small(
    sizes: str, shape: tuple[int, int, int], formula: str, tmp_path: Path
) -> None:
    text = HEAD + convolution("lowest", sizes) + BODY.replace("LAST", "lowest")
    assert advice_for(tmp_path, text, shape)[0] == formula


def test_the_largest_of_several_lowest_windows_counts(tmp_path: Path) -> None:
    branches = convolution("small", "kernel_size: 1") + convolution("large", "kernel_size: 9 pad: 4")
    joined = 'layer { name: "both" type: "Concat" bottom: "small" bottom: "large" top: "both" }\n'
    formula, reason = advice_for(
        tmp_path, HEAD + branches + joined + BODY.replace("LAST", "both"), (3, 30, 45)
    )
    assert formula == "epsilon-plus"
    assert reason.endswith("a window of the lowest layer covers 6 % of it")


def test_an_inner_product_sees_all_of_the_picture(tmp_path: Path) -> None:
    """Flat would give every pixel the same."""
    product = 'layer { name: "fc" type: "InnerProduct" bottom: "data" top: "fc"'
    product += " inner_product_param { num_output: 3 } }"
    formula, reason = advice_for(tmp_path, HEAD + product, (3, 64, 48))
    assert formula == "epsilon-plus"
    assert reason.endswith("covers 100 % of it")


def test_the_script_counts_visible_pixels_formula_by_formula(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few, all_negative = np.zeros((1, 20, 30), np.float32), np.full((1, 20, 30), -1, np.float32)
    few[0, 4, 5:7] = 3, -1  # 2 of 600
    half = np.zeros((1, 20, 30), np.float32)
    half[0, :10] = 1
    maps = {"a.png_f0_c1": few, "a.png_f0_c2": half, "a.png_f100_top1": all_negative}
    for stem, relevance in maps.items():
        Image.fromarray(heatmap_picture(relevance)).save(tmp_path / f"{stem}_heatmap.png")
    assert visible_share.main([str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[2:] == [
        "| 0 | 2 | 25.17 % | 0.33 % | 50.00 % | 1 |",
        "| 100 | 1 | 0.00 % | 0.00 % | 0.00 % | 1 |",
    ]


def test_a_folder_without_heatmaps_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert visible_share.main([str(tmp_path)]) == 3
    assert "no *_heatmap.png below this folder" in capsys.readouterr().err
    (tmp_path / "a.png_heatmap.png").write_text("no picture")
    assert visible_share.main([str(tmp_path)]) == 3
    assert "cannot be decoded as a picture" in capsys.readouterr().err


def test_what_only_other_heads_read_does_not_count(tmp_path: Path) -> None:
    product = 'layer { name: "aside" type: "InnerProduct" bottom: "data" top: "aside"'
    product += " inner_product_param { num_output: 3 } }"
    text = HEAD + convolution("lowest", "kernel_size: 3") + BODY.replace("LAST", "lowest") + product
    assert advice_for(tmp_path, text, (3, 64, 48))[0] == "epsilon-plus-flat"
