"""``python -m alexnet_np``: the same as ``alexnet-np``."""

import sys

from .cli import main

sys.exit(main())
