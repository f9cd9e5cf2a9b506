"""Becomes the command it is given, tied to the process that started it.

Run as a script: ``python leash.py PARENT_PID COMMAND ARGUMENT...``. On Linux the kernel kills the command
when its parent ends, however that ends; elsewhere the command runs untied. The process keeps its id, so the
parent's child is the command itself.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to its parent and replace it by the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() == parent:  # else it ended before the tie was made
        os.execv(command[0], command)  # noqa: S606


if __name__ == "__main__":
    main()
