"""`slayq dev`: Postgres, the daemon and the example receiver in one process, and a few events through all of them."""

import contextlib
import secrets
import shlex
import sys
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.error import CannotListenError
from twisted.logger import globalLogBeginner
from twisted.python.failure import Failure
from twisted.web.server import Site

from slayq_tw import conninfo
from slayq_tw.client.asynchronous import send_event
from slayq_tw.config import Config, load
from slayq_tw.cron import CronService
