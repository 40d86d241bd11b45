"""The changelog goes with the version of the package."""

import re
from pathlib import Path

from caffe_lrp import __version__

CHANGELOG = (Path(__file__).parents[1] / "CHANGELOG.md").read_text(encoding="utf-8")
#: Release -> what follows its number in the heading, and the text below it; the newest first.
RELEASES = {
    number: (remark, text)
    for number, remark, text in re.findall(r"(?ms)^## (\S+)(.*?)$(.*?)(?=^## |\Z)", CHANGELOG)
}


def test_the_first_release_of_the_changelog_is_the_version_of_the_package() -> None:
    assert next(iter(RELEASES)) == __version__


def test_releases_go_back_in_time() -> None:
    numbers = [tuple(map(int, number.split("."))) for number in RELEASES]
    assert numbers == sorted(set(numbers), reverse=True)
    assert [remark for remark, _ in RELEASES.values() if remark == " (unreleased)"] in ([], [" (unreleased)"])


def test_the_newest_release_says_what_was_added_changed_and_fixed() -> None:
    _, text = RELEASES[__version__]
    assert re.findall(r"(?m)^### (.*)$", text) == ["Added", "Changed", "Fixed"]
