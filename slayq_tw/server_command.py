"""`slay-q-server FILE`: the counterpart of upstream's command. It is twistd with the right arguments."""

import sys
from collections.abc import Sequence

from twisted.python import usage
from twisted.scripts import twistd

from slayq_tw.tap import Options

_PARAMETERS = [str(name) for name, *_ in Options.optParameters]
_FLAGS = [str(name) for name, *_ in Options.optFlags]


class ServerOptions(Options):
    """Command line of `slay-q-server`."""

    synopsis = "Usage: slay-q-server [options] [FILE]"

    def parseArgs(self, file: str | None = None) -> None:
        """The configuration file, `slay-config.json` unless given."""
        if file is not None:
            self["config"] = file


def main(argv: Sequence[str] | None = None) -> None:
    """Run the daemon in the foreground; ends the process with its exit status.

    Args:
        argv: arguments without the program's name.
    """
    options = ServerOptions()
    try:
        options.parseOptions(list(sys.argv[1:] if argv is None else argv))
    except usage.UsageError as error:
        raise SystemExit(f"slay-q-server: {error}\n{options.synopsis}") from error
    arguments = [f"--{name}={options[name]}" for name in _PARAMETERS if options[name] is not None]
    arguments += [f"--{name}" for name in _FLAGS if options[name]]
    sys.argv = ["slay-q-server", "--nodaemon", "--pidfile=", "slayq", *arguments]
    twistd.run()


if __name__ == "__main__":
    main()
