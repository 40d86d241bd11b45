"""The errors of the lookalike, where Caffe ends the process; and what is refused by name."""

from typing import Any, NoReturn

from caffe_lrp.errors import UsageError


class CaffeError(UsageError, RuntimeError):
    """A call that cannot be answered."""


class CaffeValueError(CaffeError, ValueError):
    """An argument of the wrong shape or value."""


class CaffeKeyError(CaffeError, KeyError):
    """There is no blob or layer with this name."""

    @property
    def message(self) -> str:
        """The text, which a KeyError would put in quotes."""
        return str(self.args[0])


class Refused:
    """Something of Caffe's that is not here; it can be imported, and says so when it is used.

    Parameters
    ----------
    name
        Its name in Caffe.
    way_out
        What to do instead.
    """

    def __init__(self, name: str, way_out: str) -> None:
        self._text = f"{name} is not part of caffe_lrp.pycaffe; {way_out}"

    def __repr__(self) -> str:
        return f"<{self._text}>"

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Say what to do instead."""
        raise CaffeError(self._text)

    def __getattr__(self, name: str) -> NoReturn:
        # Python itself asks for names with underscores, and must be told that there are none.
        raise AttributeError(name) if name.startswith("__") else CaffeError(self._text)


_TRAINING = (
    "it explains trained nets and does not train: train with Caffe, and give its caffemodel to caffe.Net"
)
_NET_SPEC = "write the prototxt as text"
#: Name in Caffe -> what to do instead.
REFUSED: dict[str, str] = {
    **dict.fromkeys(
        ("get_solver", "SGDSolver", "NesterovSolver", "AdaGradSolver", "RMSPropSolver", "AdaDeltaSolver"),
        _TRAINING,
    ),
    **dict.fromkeys(("AdamSolver", "Solver", "NCCL"), _TRAINING),
    "Timer": "use time.perf_counter() of Python",
    **dict.fromkeys(("NetSpec", "layers", "params", "to_proto", "net_spec"), _NET_SPEC),
    "Layer": "layers written in Python are not run; express the layer by Caffe's own types",
    "Detector": "crop the windows yourself, and give the crops to caffe.Classifier",
    "detector": "crop the windows yourself, and give the crops to caffe.Classifier",
    "draw": "caffe-lrp inspect --svg FILE draws a net",
    "coord_map": "give the Crop layer its offsets",
}
