"""``caffe-lrp classroom``: everything from nothing, into a new folder."""

from pathlib import Path

from command_line import files_below, run
from PIL import Image

from caffe_lrp.errors import ExitCode

MADE = ["config.yaml", "deploy.prototxt", "digits.caffemodel", *(f"digits/{n}.png" for n in range(10))]


def test_a_net_is_trained_and_explained_and_its_files_run(tmp_path: Path) -> None:
    folder = tmp_path / "a b"
    result = run("classroom", folder, "--digits", 100, "--net", "mlp")
    assert (result.returncode, result.stderr) == (ExitCode.DONE, "")
    said = result.stdout.splitlines()
    assert said[:2] == ["drawing and distorting 100 digits ...", "training a net (mlp) on them, 3 times ..."]
    assert said[2].startswith("  100 %: loss ")
    assert said[-2].startswith(f"  caffe-lrp -c '{folder}/config.yaml' --images '{folder}/digits'")
    assert files_below(folder) == sorted([*MADE, "labels.txt", "sheet.png"])
    with Image.open(folder / "sheet.png") as sheet:
        assert min(sheet.size) > 1000
    listed = run("-c", folder / "config.yaml", "--images", folder / "digits", "-p", tmp_path / "out")
    assert listed.returncode == ExitCode.DONE
    again = run("classroom", folder)
    assert again.returncode == ExitCode.OUTPUT
    assert f"{folder}: is not empty; give another folder" in again.stderr
