"""The file of a sheet: what may be in its place, and what is said of it."""

import os
import stat
import sys
from pathlib import Path

from caffe_lrp.batch.sheets import Sheet
from caffe_lrp.errors import ImageError, OutputError, UsageError
from caffe_lrp.files.atomic import write_atomically
from caffe_lrp.messages import counted
from caffe_lrp.rendering.png import encode_picture, style_in
from caffe_lrp.rendering.style import PictureStyle

from .terminal import remark, say


def require_room(path: Path, *, overwrite: bool) -> None:
    """Refuse a sheet that is not a PNG file, or that would replace a file not made by caffe-lrp."""
    if path.suffix.lower() != ".png":
        raise UsageError(f"--sheet: {path} will be a PNG file; use a name that ends with .png")
    if not os.path.lexists(path):
        return
    if not overwrite:
        raise OutputError(f"{path}: already exists; add --overwrite, or give another name")
    if not stat.S_ISREG(path.lstat().st_mode) or style_in(path) is None:
        raise OutputError(
            f"{path}: is not a picture made by caffe-lrp, so it is not replaced; give another name"
        )


def write_sheet(path: Path, sheet: Sheet | None, style: PictureStyle) -> None:
    """Write a sheet, if there is one, and say what is on it."""
    if sheet is None:
        remark(f"note: {path} was not written: there are no pictures to put on it")
        return
    try:
        write_atomically(path, encode_picture(sheet.picture, style))
    except ImageError as fault:  # the sheet failed, not an image
        raise OutputError(str(fault)) from fault
    text = f"sheet of {counted(sheet.maps, 'picture')} of {counted(sheet.photos, 'photo')}: {path}"
    say(text, sys.stdout)
    if sheet.left_out:
        remark(f"note: {counted(sheet.left_out, 'photo')} did not fit on the sheet; give fewer sources")
