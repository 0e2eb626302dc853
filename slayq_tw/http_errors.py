"""What goes wrong with an HTTP exchange, beyond what Twisted has a name for. Each text is one line."""

from OpenSSL.SSL import Error as OpenSSLError
from service_identity import CertificateError, VerificationError
from twisted.python.failure import Failure


class ExchangeError(Exception):
    """Root of these."""


class BadResponse(ExchangeError):
    """What came back is no HTTP response that we take."""


class ConnectTimedOut(ExchangeError):
    """No connection within the time."""


class TLSFailed(ExchangeError):
    """No secure connection came about."""


def explained(reason: Failure) -> Failure:
    """The loss of a connection during the TLS handshake, in words where Twisted and OpenSSL have none."""
    error = reason.value
    if isinstance(error, VerificationError):
        return Failure(TLSFailed("TLS: the certificate is not for this host"))
    if isinstance(error, CertificateError):
        return Failure(TLSFailed(f"TLS: the certificate is malformed: {error}"))
    if isinstance(error, OpenSSLError):
        entries = error.args[0] if error.args and isinstance(error.args[0], list) else []
        return Failure(
            TLSFailed(f"TLS: {', '.join(str(entry[-1]) for entry in entries) or 'the handshake failed'}")
        )
    return reason
