"""The note about images with an orientation tag, which is ignored: one for all; nothing is printed here."""

from dataclasses import dataclass, field

from caffe_lrp.errors import presentable
from caffe_lrp.messages import counted, listed

#: Images that are named in the note; of any number.
_MOST_NAMED = 5


@dataclass
class TurnedImages:
    """Collects images that a camera stored turned or mirrored.

    Attributes
    ----------
    first
        The first of them.
    count
        How many there are; maps of an image that come one after the other count once.
    """

    first: list[str] = field(default_factory=list)
    count: int = 0
    _last: str = ""

    def add(self, image: str) -> None:
        """Remember an image."""
        if image == self._last:
            return
        self._last = image
        self.count += 1
        if len(self.first) < _MOST_NAMED:
            self.first.append(presentable(image))

    def note(self) -> str:
        """Return the note about all of them; empty if there are none."""
        if not self.count:
            return ""
        lines = listed(self.first, more=self.count - len(self.first))
        verb = "was" if self.count == 1 else "were"
        return (
            f"{counted(self.count, 'image')} {verb} explained as stored, perhaps sideways: the EXIF "
            "orientation is ignored; turn such images first (mogrify -auto-orient, see caffe-lrp help "
            f"lists)\n{lines}"
        )
