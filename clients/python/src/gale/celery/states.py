"""Names of task states, as in Celery, and the states of Gale that they stand for."""

from __future__ import annotations

PENDING = "PENDING"
RECEIVED = "RECEIVED"
STARTED = "STARTED"
SUCCESS = "SUCCESS"
FAILURE = "FAILURE"
REVOKED = "REVOKED"
REJECTED = "REJECTED"
RETRY = "RETRY"
IGNORED = "IGNORED"

READY_STATES = frozenset({SUCCESS, FAILURE, REVOKED})
UNREADY_STATES = frozenset({PENDING, RECEIVED, STARTED, REJECTED, RETRY})
EXCEPTION_STATES = frozenset({RETRY, FAILURE, REVOKED})
PROPAGATE_STATES = frozenset({FAILURE, REVOKED})
ALL_STATES = frozenset({PENDING, RECEIVED, STARTED, SUCCESS, FAILURE, RETRY, REVOKED})

#: State of Gale to state of Celery. A custom state of update_state replaces STARTED.
FROM_GALE = {
    "scheduled": PENDING,
    "queued": PENDING,
    "running": STARTED,
    "retrying": RETRY,
    "success": SUCCESS,
    "failed": FAILURE,
    "cancelled": REVOKED,
    "dead": FAILURE,
}

_PRECEDENCE = [SUCCESS, FAILURE, None, REVOKED, STARTED, RECEIVED, REJECTED, RETRY, PENDING]


def precedence(name: str) -> int:
    """Returns the position of a state in the order from final to pending.

    A custom state comes after FAILURE and before REVOKED, as in Celery.
    """
    return _PRECEDENCE.index(name if name in _PRECEDENCE else None)


class state(str):
    """A state that compares by precedence: PENDING is less than SUCCESS."""

    def __gt__(self, other: str) -> bool:
        return precedence(self) < precedence(other)

    def __ge__(self, other: str) -> bool:
        return precedence(self) <= precedence(other)

    def __lt__(self, other: str) -> bool:
        return precedence(self) > precedence(other)

    def __le__(self, other: str) -> bool:
        return precedence(self) >= precedence(other)
