"""The Python interface from outside: its names, what they cost to import, and its example."""

import doctest
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import caffe_lrp
from caffe_lrp.model.settings import ModelSettings

ROOT = Path(__file__).parents[1]
HEAVY = {"numpy", "numba", "llvmlite", "cv2", "PIL", "google", "yaml"}
#: Says which libraries the package loads, when it is imported and when its one lazy name is asked for.
IMPORTER = f"""
import sys, caffe_lrp
print(sorted({HEAVY} & {{*sys.modules}}))
caffe_lrp.ConfigError, caffe_lrp.load, caffe_lrp.__version__
print(sorted({HEAVY} & {{*sys.modules}}))
caffe_lrp.Model
print("numba" in sys.modules)
"""


def test_importing_the_package_loads_no_library_before_a_model_is_asked_for() -> None:
    environment = {**os.environ, "PYTHONPATH": ":".join(sys.path)}
    found = subprocess.run(
        [sys.executable, "-c", IMPORTER], env=environment, capture_output=True, text=True, check=True
    )
    assert found.stdout == "[]\n[]\nTrue\n"


def test_every_public_name_is_there_documented_and_completed() -> None:
    assert {*caffe_lrp.__all__} == {
        "CaffeLrpError", "Composite", "ConfigError", "Explanation", "ImageError", "LimitError", "Model",
        "ModelError",
        "OutputError", "PictureStyle", "Place", "PlanError", "UsageError", "__version__", "load",
        "read_composite",
    }  # fmt: skip
    for name in caffe_lrp.__all__:
        found = getattr(caffe_lrp, name)
        assert isinstance(found, str) or inspect.getdoc(found), name
    for kind in (caffe_lrp.Model, caffe_lrp.Explanation, caffe_lrp.CaffeLrpError):
        public = [value for name, value in vars(kind).items() if not name.startswith("_") and callable(value)]
        assert [value for value in public if not value.__doc__] == []
    assert dir(caffe_lrp) == sorted(caffe_lrp.__all__)  # what a notebook completes, and help() shows
    with pytest.raises(AttributeError, match="module 'caffe_lrp' has no attribute 'Modle'"):
        caffe_lrp.Modle  # noqa: B018 - is refused


def test_all_settings_of_a_model_can_be_given_and_are_explained() -> None:
    given = {*inspect.signature(caffe_lrp.load).parameters} - {"source", "threads", "memory"}
    settings = {*ModelSettings.__dataclass_fields__} - {"prototxt"}
    assert given == settings
    text = inspect.getdoc(caffe_lrp.load) or ""
    assert [name for name in (*given, "source", "threads", "memory") if name not in text] == []


def test_the_example_of_the_package_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # it writes a picture
    for folder in ("configs", "filelists"):
        Path(folder).symlink_to(ROOT / folder)
    result = doctest.testmod(caffe_lrp)
    assert (result.failed, result.attempted) == (0, 5)
