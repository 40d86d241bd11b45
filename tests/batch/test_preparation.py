"""What is foreseen of the lines of a run before it starts."""

from pathlib import Path

import pytest
from batch_builders import opened

from caffe_lrp.batch.job import HeatmapJob
from caffe_lrp.batch.preparation import foreseeable_fault
from caffe_lrp.config import HeatmapConfig, read_config
from caffe_lrp.relevance.target import Target

DATA = Path(__file__).parents[1] / "data" / "conformance"


@pytest.fixture
def config(monkeypatch: pytest.MonkeyPatch) -> HeatmapConfig:
    """Formula 2 on a net of 18 layers and 12 outputs."""
    monkeypatch.chdir(DATA)
    return read_config(Path("configs/vgg_2_eps1_beta1_aux4.txt"))


@pytest.mark.parametrize(
    ("image", "code", "fault"),
    [
        ("images/set/square.jpg", 11, ""),
        ("images/set/square.jpg", -1, ""),
        ("images/set/square.jpg", 12, "class 12 does not exist: the net has 12 outputs"),
        ("images/set/squere.jpg", 0, "did you mean 'square.jpg'?"),
        ("images/set", 0, "it is a folder"),
    ],
)
def test_faults_are_foreseen(config: HeatmapConfig, image: str, code: int, fault: str) -> None:
    job = HeatmapJob(0, 1, Path(image), Target(code), 2, "out/stem")
    found = foreseeable_fault(opened(config), job)
    assert fault in found
    assert bool(found) == bool(fault)
