"""Where the files that a config names are looked for."""

from pathlib import Path


def locate(path: Path, config_folder: Path) -> Path:
    """``path`` as it is if it exists or is absolute, else beside the config file if it exists there."""
    beside = config_folder / path
    return beside if not exists(path) and exists(beside) else path


def exists(path: Path) -> bool:
    """Whether there is such a file; not if its path is none, such as one too long."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False
