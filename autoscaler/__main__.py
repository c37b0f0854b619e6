"""The entry of the process, light: signals are minded before the slow imports begin."""

import os
import signal
import sys


def main() -> None:
    """Run the command line and exit."""
    _hold_places()
    command = next((word for word in sys.argv[1:] if not word.startswith("-")), "")
    if command == "run":
        # The daemon takes them when it is ready to: until then nothing may cut it short, and no
        # thread that it starts may get them.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # ends the imports without a traceback

    from autoscaler.cli import run  # noqa: PLC0415 - see above

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.exit(run(sys.argv[1:]))


def _hold_places() -> None:
    """Let no file or connection get the number of a standard stream that is closed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free


if __name__ == "__main__":
    main()
