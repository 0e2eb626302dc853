"""How a request ends without an answer: the errors of Twisted, TLS and our agent, and their words for people."""

from typing import Any

from OpenSSL.SSL import Error as OpenSSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError
from twisted.internet.error import (
    ConnectError,
    ConnectingCancelledError,
    ConnectionClosed,
    DNSLookupError,
    UnsupportedAddressFamily,
)
from twisted.web.client import RequestGenerationFailed, ResponseFailed

from slayq_tw.errors import DeliveryError, NameUnresolved
from slayq_tw.http_errors import ConnectTimedOut, ExchangeError, TLSFailed

NO_CONNECTION = (
    ConnectError,
    ConnectTimedOut,
    DNSLookupError,
    NameUnresolved,
    OpenSSLError,
    TLSFailed,
    UnsupportedAddressFamily,
    VerificationError,
)
"""What says that no connection came about. (ConnectionClosed says that one was lost.)"""
TRANSPORT_ERRORS = (
    *NO_CONNECTION,
    CancelledError,
    ConnectingCancelledError,
    ConnectionClosed,
    ExchangeError,
    RequestGenerationFailed,
    ResponseFailed,
    ValueError,  # a host name that Twisted refuses
)
"""What Twisted and TLS raise for a request that gets no answer."""


def innermost(error: Any) -> BaseException:
    """What went wrong beneath: Twisted wraps the reasons of a failed request in a list."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    innermost: BaseException = error
    return innermost


def described(cause: BaseException | None) -> str:
    """A cause in one line."""
    if isinstance(cause, DNSLookupError):
        return "the host name has no address"
    text = " ".join(str(cause).split()).rstrip(".")
    if isinstance(cause, ConnectError | ConnectionClosed | DeliveryError | ExchangeError | NameUnresolved):
        return text or type(cause).__name__
    return f"{type(cause).__name__}: {text}" if text else type(cause).__name__
