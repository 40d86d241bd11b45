"""The explained photos: where they are now, and which part of them the net saw."""

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from caffe_lrp.errors import CaffeLrpError, ImageError
from caffe_lrp.files.imagefile import ArchiveMember, ImageSource
from caffe_lrp.imaging.numpy_file import is_numpy_file
from caffe_lrp.imaging.original import Original
from caffe_lrp.imaging.place import Place
from caffe_lrp.relevance.target import Target
from caffe_lrp.sources.collection import read_images

from .finished import FinishedMap

Picture = NDArray[np.uint8]


class Photos:
    """Finds the photos of finished maps.

    Parameters
    ----------
    image_root
        Folder to search for photos, by the longest trailing part of their paths that exists in it;
        None: the paths of the run.
    """

    def __init__(self, image_root: Path | None = None) -> None:
        self._image_root = image_root
        self._archives: dict[Path, dict[str, ArchiveMember]] = {}

    def find(self, finished: FinishedMap) -> ImageSource:
        """Return the source of the photo of a map.

        Raises
        ------
        ImageError
            Its path is unknown, or it does not exist.
        """
        if not finished.image and self._image_root is None:
            raise ImageError(f"{finished.relevance}: no journal says which photo it explains")
        for path in self._places_of(finished.image or finished.image_name):
            if _is_file(path):
                return path
            if member := self._member(path):
                return member
        raise ImageError(f"{finished.image or finished.image_name}: the photo is missing")

    def _places_of(self, image: str) -> Iterator[Path]:
        if self._image_root is None:
            yield Path(image)
            return
        steps = [step for step in PurePosixPath(image).parts if step not in ("/", "..")]
        for first in range(len(steps)):
            yield self._image_root.joinpath(*steps[first:])

    def _member(self, path: Path) -> ArchiveMember | None:
        """Return the photo in a tar archive, if ``path`` begins with the path of one."""
        archive = next((above for above in path.parents if _is_file(above)), None)
        if archive is None:
            return None
        if archive not in self._archives:
            self._archives[archive] = _members_of(archive)
        return self._archives[archive].get(os.path.relpath(path, archive))


def _is_file(path: Path) -> bool:
    """Return whether a file exists; False for impossible names, or without permission."""
    try:
        return path.is_file()
    except OSError:
        return False


def _members_of(archive: Path) -> dict[str, ArchiveMember]:
    """Return the images in an archive by their names; none if it is not an archive."""
    try:
        entries = read_images(archive, Target(-1))
    except CaffeLrpError:
        return {}
    return {entry.inside: entry.member for entry in entries if entry.member}


def read_photo(finished: FinishedMap, source: ImageSource, channels: int) -> Picture:
    """Return a photo as the net's loader reads it, (h, w, 3) RGB.

    Parameters
    ----------
    finished
        The map of the photo.
    source
        Source of the photo.
    channels
        Channels of the map; a NumPy file has as many.

    Raises
    ------
    ImageError
        It cannot be read.
    """
    said = finished.run.header.preprocessing.get("channel_order") if finished.run else None
    return Original(source, channels, "RGB" if said == "RGB" else "BGR").picture()


def place_of(finished: FinishedMap, source: ImageSource, photo: Picture) -> Place:
    """Return the part of a photo that the net saw.

    Raises
    ------
    ImageError
        No journal records how photos were cropped.
    """
    crop = finished.run.crop if finished.run else None
    if crop is None:
        raise ImageError(f"{finished.relevance}: no journal says which part of its photo the net saw")
    sides = (photo.shape[0], photo.shape[1])
    return crop.place_of_levels(sides) if is_numpy_file(source) else crop.place(sides)
