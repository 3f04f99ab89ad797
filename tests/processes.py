"""Training in a process of its own, with the small network: to be stopped, killed, or left without a terminal."""

import subprocess
import sys
from pathlib import Path

COMMAND = f"""if True:
    import sys
    sys.path.insert(0, {str(Path(__file__).parent)!r})
    from pictures import small_network
    from alexnet_np import models
    models.alexnet = small_network
    from alexnet_np.cli import main
    sys.exit(main(sys.argv[1:]))
"""


def start(*argv, before="", **options):
    """``alexnet-np train`` with these arguments, after the program ``before``; text pipes unless ``options`` differ."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([sys.executable, "-u", "-c", before + COMMAND, "train", *argv], **pipes | options)
