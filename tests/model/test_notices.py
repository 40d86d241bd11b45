"""What is said of a model before it explains anything."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from batch_builders import opened

from caffe_lrp.config import HeatmapConfig, read_config
from caffe_lrp.model.notices import notices_on

DATA = Path(__file__).parents[1] / "data" / "conformance"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> HeatmapConfig:
    """Formula 2 on a net of 18 layers and 12 outputs."""
    monkeypatch.chdir(DATA)
    return read_config(Path("configs/vgg_2_eps1_beta1_aux4.txt"))


def notes(config: HeatmapConfig, *formulas: int) -> list[str]:
    return [notice.placed(config.places) for notice in notices_on(opened(config, *formulas))]


def test_usual_settings_are_passed_in_silence(config: HeatmapConfig) -> None:
    assert notes(config) == []
    assert notes(replace(config, formula=102, switch_layer=15)) == []
    assert notes(replace(config, switch_layer=99)) == []


@pytest.mark.parametrize(
    ("changes", "note"),
    [
        (
            {"class_count": 11},
            "numclasses is 11, but the net has 12 outputs; outputs from 11 on are not ranked",
        ),
        (
            {"start_layer": 13},
            "starts at layer 13 'fc6' (InnerProduct), which has 36 elements, but the net has 12 outputs",
        ),
        ({"formula": 102, "switch_layer": 16}, "switch layer 16 is not below the start layer 16"),
    ],
)
def test_settings_that_are_seldom_meant_are_noted_with_their_place(
    config: HeatmapConfig, changes: dict[str, Any], note: str
) -> None:
    (found,) = notes(replace(config, **changes))
    assert note in found
    assert found.startswith("configs/vgg_2_eps1_beta1_aux4.txt: line ")


def test_the_switch_layer_is_looked_at_if_any_formula_needs_it(config: HeatmapConfig) -> None:
    config = replace(config, switch_layer=16)
    assert notes(config, 0, 100) == []
    assert len(notes(config, 0, 102, 104)) == 1
