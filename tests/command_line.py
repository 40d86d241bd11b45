"""The command line as a process, and the files that it is run with: shared by many tests."""

import subprocess
import sys
from pathlib import Path

DATA = Path(__file__).parent / "data" / "conformance"
CONFIG = DATA / "configs" / "vgg_2_eps1_beta1_aux4.txt"


def run(*arguments: object, module: str = "caffe_lrp", cwd: Path = DATA) -> subprocess.CompletedProcess[str]:
    """Run the command as a user would, in the folder of the conformance data."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=300, check=False)


def listing(folder: Path, *lines: str) -> Path:
    path = folder / "list.txt"
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


def config(folder: Path, **changes: object) -> Path:
    """The config of the conformance case with some values changed."""
    lines = CONFIG.read_text().split("\n")
    for key, value in changes.items():
        lines[lines.index(key) + 1] = str(value)
    path = folder / "config.txt"
    path.write_text("\n".join(lines))
    return path


def files_below(folder: Path) -> list[str]:
    """Files of results; journals, leases and summaries are tested with the runs that go on."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(
        str(path.relative_to(folder)) for path in files if path.suffix not in {".json", ".jsonl", ".lease"}
    )
