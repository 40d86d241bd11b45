"""The programs ``caffe-lrp`` (also ``python -m caffe_lrp``) and ``caffe-lrp-demo``.

Signal handlers are installed before any slow import, and stay until Python exits.
"""

import sys

try:
    from .cli.halt import Halt
except KeyboardInterrupt:  # during these few milliseconds Python itself handles Ctrl-C
    sys.exit(130)


def main() -> int:
    """Run ``caffe-lrp`` and return the exit code. Only for a separate process."""
    with Halt() as halt:
        from .cli import main as cli  # noqa: PLC0415 - not before signals are heard

        return cli.main(halt=halt)


def demo_main() -> int:
    """Run ``caffe-lrp-demo``; otherwise like `main`."""
    with Halt() as halt:
        from .cli import main as cli  # noqa: PLC0415 - as in main

        return cli.demo_main(halt=halt)


if __name__ == "__main__":
    sys.exit(main())
