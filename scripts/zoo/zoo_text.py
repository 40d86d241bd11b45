"""Writes the text of a net, layer by layer, in Caffe's current style.

Every method of `Sketch` adds a layer, which by default reads the last blob that was written, and returns the
name of the blob that the layer writes.
"""

from collections.abc import Sequence

IMAGE = "data"
"""Name of the input blob."""

Size = int | tuple[int, int]
"""One number for both directions, or one for the height and one for the width."""

Parameter = int | float | str | bool | None


class Sketch:
    """A net under construction.

    Parameters
    ----------
    name
        Of the net.
    input_shape
        (C, H, W).
    """

    def __init__(self, name: str, input_shape: tuple[int, int, int]) -> None:
        sizes = "".join(f" dim: {size}" for size in (1, *input_shape))
        self._lines = [f'name: "{name}"', f'input: "{IMAGE}"', f"input_shape {{{sizes} }}"]
        self.last = IMAGE

    @property
    def text(self) -> str:
        """The prototxt so far."""
        return "".join(f"{line}\n" for line in self._lines)

    def section(self, title: str = "") -> None:
        """Begin a section, with a title if there is one."""
        self._lines.append("")
        if title:
            self._lines.append(f"# {title}")

    def layer(self, kind: str, name: str, of: Sequence[str], into: str, parameters: str = "") -> str:
        """Add a layer of type `kind` that reads the blobs `of` and writes `into`."""
        reads = "".join(f' bottom: "{blob}"' for blob in of)
        head = f'layer {{ name: "{name}" type: "{kind}"{reads} top: "{into}"'
        self._lines += [head, f"  {parameters} }}"] if parameters else [f"{head} }}"]
        self.last = into
        return into

    def _one_to_one(
        self, kind: str, name: str, of: str | None, into: str | None = None, parameters: str = ""
    ) -> str:
        """Add a layer with one bottom and one top, which has the layer's name unless `into` names another."""
        return self.layer(kind, name, (of or self.last,), into or name, parameters)

    def _in_place(
        self, kind: str, name: str, of: str | None, into: str | None = None, parameters: str = ""
    ) -> str:
        """Add a layer that overwrites its input, unless `into` names another blob."""
        read = of or self.last
        return self.layer(kind, name, (read,), into or read, parameters)

    def conv(
        self,
        name: str,
        outputs: int,
        kernel: Size,
        *,
        stride: int = 1,
        pad: Size = 0,
        groups: int = 1,
        bias: bool = True,
        kind: str = "Convolution",
        of: str | None = None,
    ) -> str:
        """Add a convolution, or another layer with the parameters of one."""
        parameters = message(
            "convolution_param",
            num_output=outputs,
            **sizes("kernel", kernel),
            **(sizes("pad", pad) if pad else {}),
            stride=None if stride == 1 else stride,
            group=None if groups == 1 else groups,
            bias_term=None if bias else False,
        )
        return self._one_to_one(kind, name, of, parameters=parameters)

    def fc(self, name: str, outputs: int, *, of: str | None = None) -> str:
        """Add a fully connected layer."""
        return self._one_to_one(
            "InnerProduct", name, of, parameters=message("inner_product_param", num_output=outputs)
        )

    def batch_norm(
        self, name: str, *, eps: float | None = None, of: str | None = None, into: str | None = None
    ) -> str:
        """Add a batch normalization without scale and shift; `eps` where it is not Caffe's 1e-5."""
        parameters = message("batch_norm_param", eps=eps) if eps else ""
        return self._in_place("BatchNorm", name, of, into, parameters)

    def scale(self, name: str, *, of: str | None = None, into: str | None = None) -> str:
        """Add a learned scale and shift of every channel."""
        return self._in_place("Scale", name, of, into, message("scale_param", bias_term=True))

    def relu(self, name: str, *, of: str | None = None, into: str | None = None) -> str:
        """Add a ReLU."""
        return self._in_place("ReLU", name, of, into)

    def relu6(self, name: str, *, of: str | None = None) -> str:
        """Add a ReLU6."""
        return self._in_place("ReLU6", name, of)

    def sigmoid(self, name: str, *, of: str | None = None) -> str:
        """Add a sigmoid."""
        return self._in_place("Sigmoid", name, of)

    def dropout(self, name: str, ratio: float, *, of: str | None = None) -> str:
        """Add a dropout layer, which does nothing outside training."""
        return self._in_place("Dropout", name, of, None, message("dropout_param", dropout_ratio=ratio))

    def lrn(self, name: str, *, alpha: float = 0.0001, k: float | None = None, of: str | None = None) -> str:
        """Add a normalization by five neighbouring channels; `k` where it is not Caffe's 1."""
        parameters = message("lrn_param", local_size=5, alpha=alpha, beta=0.75, k=k)
        return self._one_to_one("LRN", name, of, parameters=parameters)

    def pool(
        self,
        name: str,
        kernel: int,
        stride: int = 1,
        *,
        method: str = "MAX",
        pad: int | None = None,
        ceil_mode: bool | None = None,
        of: str | None = None,
    ) -> str:
        """Add a pooling layer; a `ceil_mode` of False where its size is not rounded up."""
        parameters = message(
            "pooling_param",
            pool=method,
            kernel_size=kernel,
            stride=stride,
            pad=pad,
            ceil_mode=ceil_mode,
        )
        return self._one_to_one("Pooling", name, of, parameters=parameters)

    def global_average(self, name: str, *, of: str | None = None) -> str:
        """Add a layer that takes the mean of every channel."""
        parameters = message("pooling_param", pool="AVE", global_pooling=True)
        return self._one_to_one("Pooling", name, of, parameters=parameters)

    def concat(self, name: str, of: Sequence[str]) -> str:
        """Add a layer that joins blobs along their channels."""
        self._lines.append(f'layer {{ name: "{name}" type: "Concat"')
        self._lines += [f'  bottom: "{blob}"' for blob in of]
        self._lines.append(f'  top: "{name}" }}')
        self.last = name
        return name

    def add(self, name: str, of: Sequence[str], *, factors: Sequence[float] = ()) -> str:
        """Add a layer that adds blobs up, each times its factor if there are any."""
        parameters = " ".join(["operation: SUM", *(f"coeff: {factor:g}" for factor in factors)])
        return self.layer("Eltwise", name, of, name, f"eltwise_param {{ {parameters} }}")

    def axpy(self, name: str, factor: str, of: str, plus: str) -> str:
        """Add a layer that scales every channel of `of` by an element of `factor` and adds `plus`."""
        return self.layer("Axpy", name, (factor, of, plus), name)

    def shuffle(self, name: str, groups: int, *, of: str | None = None) -> str:
        """Add a layer that shuffles the channels of the groups."""
        return self._one_to_one(
            "ShuffleChannel", name, of, parameters=message("shuffle_channel_param", group=groups)
        )

    def crop(self, name: str, of: str, like: str, offset: int) -> str:
        """Add a layer that cuts `of` to the height and width of `like`."""
        parameters = message("crop_param", axis=2, offset=offset)
        return self.layer("Crop", name, (of, like), name, parameters)

    def softmax(self, name: str = "prob", *, of: str | None = None) -> str:
        """Add the probabilities of the classes."""
        return self._one_to_one("Softmax", name, of)


def message(name: str, **fields: Parameter) -> str:
    """Return a message with those of its fields that have a value."""
    stated = (f"{field}: {_literal(value)}" for field, value in fields.items() if value is not None)
    return f"{name} {{ {' '.join(stated)} }}"


def sizes(what: str, size: Size) -> dict[str, Parameter]:
    """Return the fields that give a kernel or a padding its size."""
    if isinstance(size, int):
        return {"kernel_size" if what == "kernel" else what: size}
    return dict(zip((f"{what}_h", f"{what}_w"), size, strict=True))


def _literal(value: Parameter) -> str:
    """Return a value as text format has it."""
    return str(value).lower() if isinstance(value, bool) else str(value)
