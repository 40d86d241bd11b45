"""``python -m caffe_lrp``: the same as ``caffe-lrp``."""

import sys

from .cli import main

sys.exit(main())
