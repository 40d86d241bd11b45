"""The programs ``caffe-lrp``, which is also ``python -m caffe_lrp``, and ``caffe-lrp-demo``.

They listen to signals before they import anything that takes its time, and until Python has ended.
"""

import sys

try:
    from .cli.halt import Halt
except KeyboardInterrupt:  # these few milliseconds are Python's own answer to Ctrl-C
    sys.exit(130)


def main() -> int:
    """Run ``caffe-lrp``; returns the exit code. Only for a process of its own."""
    with Halt() as halt:
        from .cli import main as cli  # noqa: PLC0415 - not before signals are heard

        return cli.main(halt=halt)


def demo_main() -> int:
    """Run ``caffe-lrp-demo``; as `main`."""
    with Halt() as halt:
        from .cli import main as cli  # noqa: PLC0415 - as in main

        return cli.demo_main(halt=halt)


if __name__ == "__main__":
    sys.exit(main())
