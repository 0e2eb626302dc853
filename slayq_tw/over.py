"""`over`: the end of what somebody else watches."""

from typing import Any

from twisted.internet.defer import Deferred


def over(work: Deferred[Any]) -> Deferred[None]:
    """Fires when a Deferred has fired, however it ended; its result stays for the others."""
    ended: Deferred[None] = Deferred()

    def pass_on(result: Any) -> Any:
        if not ended.called:  # whoever waits for this may have given up
            ended.callback(None)
        return result

    work.addBoth(pass_on)
    return ended
