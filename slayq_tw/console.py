"""The commands `slayq` and `slay-q-server`."""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from slayq_tw import __version__, health
from slayq_tw.errors import ConfigError, SlayQError
from slayq_tw.logs import LEVELS

serve_description = "The production daemon is `slay-q-server FILE`, or `twistd slayq`."


def main(argv: Sequence[str] | None = None) -> int:
    """`slayq`: returns the exit status.

    Args:
        argv: arguments without the program's name.
    """
    arguments = _parser().parse_args(argv)
    try:
        status: int = arguments.run(arguments)
    except SlayQError as error:
        print(f"slayq: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def serve() -> None:
    """`slay-q-server FILE`: the daemon in the foreground. Ends the process."""
    from slayq_tw.server_command import main as serve_main

    serve_main()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="slayq", epilog=serve_description)
    parser.add_argument("--version", action="version", version=f"slayq-tw {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_dev(commands)
    _add_send(commands)
    _add_webhook_secret(commands)
    checking = commands.add_parser(
        "health", help="tell a working daemon from a hung one (exit status 0 or 1)"
    )
    checking.add_argument("file", metavar="FILE", help="the daemon's --health-file")
    checking.set_defaults(run=lambda arguments: health.main([arguments.file]))
    return parser


def _add_dev(commands: Any) -> None:
    dev = commands.add_parser(
        "dev",
        help="development mode: Postgres, the daemon and an example receiver; sends a few events",
        description="Starts a Postgres of its own, the daemon and an example receiver, sends a few events and prints "
        "what arrives when. Uses the queues of ./slay-config.json if there is one. Needs no environment variable.",
    )
    dev.add_argument(
        "--once", action="store_true", help="end when everything has arrived (0), or has not (1)"
    )
    _add_folder(dev, "where the data is kept; with --once, a folder that is removed again")
    dev.add_argument("--port", type=int, help="of the receiver; with --once, any free one")
    dev.add_argument("--log-level", choices=LEVELS, default="warn", help="of the daemon's log lines (warn)")
    dev.set_defaults(run=_dev)


def _add_send(commands: Any) -> None:
    send = commands.add_parser(
        "send", help="send an event of one's own to the daemon of `slayq dev`, which must be running"
    )
    send.add_argument("queue", metavar="QUEUE", help="a queue or an alias")
    send.add_argument("event", metavar="EVENT", help="the event's name, such as user/welcome")
    send.add_argument("--data", type=_json, metavar="JSON", help="what the function gets")
    send.add_argument("--delay", type=float, metavar="SECONDS", help="how long from now")
    send.add_argument("--key", help="job key: an event that waits under it is replaced")
    send.add_argument("--endpoint", metavar="URL", help="a receiver of one's own, instead of the example one")
    _add_folder(send, "the same as for `slayq dev`")
    send.set_defaults(run=_send)


def _add_webhook_secret(commands: Any) -> None:
    showing = commands.add_parser(
        "webhook-secret",
        help="print the secret in the form that libraries for Standard Webhooks take",
        description="Prints the secret that signs, as `whsec_` and the base64 of its UTF-8, from the configuration "
        "that the daemon has. See `standard_webhooks` in the configuration file.",
    )
    showing.add_argument("--config", default="slay-config.json", metavar="FILE", help="(slay-config.json)")
    showing.add_argument(
        "--origin", metavar="URL", help="for a receiver there, if it has a secret of its own"
    )
    showing.set_defaults(run=_webhook_secret)


def _add_folder(parser: argparse.ArgumentParser, meaning: str) -> None:
    parser.add_argument("--folder", type=Path, metavar="DIR", help=meaning)


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"no JSON: {error}") from error


def _dev(arguments: argparse.Namespace) -> int:
    # Imported here, because no other command needs Twisted's reactor or Postgres.
    from slayq_tw.dev.command import develop

    return develop(arguments.folder, arguments.port, once=arguments.once, log_level=arguments.log_level)


def _webhook_secret(arguments: argparse.Namespace) -> int:
    from slayq_tw.config import load
    from slayq_tw.standard_webhooks import shown_key
    from slayq_tw.weburl import check_web_url, origin_of

    config = load(arguments.config, os.environ)
    keys = config.keys
    if arguments.origin is not None:
        if fault := check_web_url(arguments.origin):
            raise ConfigError(f"--origin: {fault}")
        keys = config.origin_keys.get(origin_of(arguments.origin), keys)
    print(shown_key(keys.current))
    return 0


def _send(arguments: argparse.Namespace) -> int:
    from slayq_tw.dev.sending import send

    print(
        send(
            arguments.folder,
            arguments.queue,
            arguments.event,
            arguments.data,
            delay=arguments.delay,
            key=arguments.key,
            endpoint=arguments.endpoint,
            warn=lambda line: print(f"slayq: {line}", file=sys.stderr),
        )
    )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
