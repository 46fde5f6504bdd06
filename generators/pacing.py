"""When the next request may go out: limits per minute, and a breaker for a server that is down.

Both hold for all requests of a client together, from whichever thread and event loop they come. A
request asks with its ticket until nothing holds it back. Its tokens are reserved at their most and
settled with what the reply counted; without a count (a failure) they stay reserved.

A limit is held exactly: no window of 60 seconds sees more than it. Within that, sending is spread
like a token bucket's that holds five seconds' share, so a run does not begin with a whole minute's
burst. The breaker is Nygard's (*Release It!*): too many failures in a row open it, then one request
at a time probes whether the server is back.
"""

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import NamedTuple

WINDOW_S = 60.0
BURST_S = 5.0
"""So many seconds' share of a limit may go out at once."""
LONGEST_PAUSE_S = 300.0
POLL_S = 0.1
"""How often a request asks again that waits behind others, or may be let go early by a refund."""

Clock = Callable[[], float]


class Obstacle(NamedTuple):
    """What holds a request back, and for how long at least."""

    reason: str
    message: str
    wait_s: float
    sleep_s: float
    """When to ask again; sooner than `wait_s` where it may end early."""


@dataclass(eq=False)
class Charge:
    """What one request took of an allowance, and when."""

    at: float
    amount: int


@dataclass(eq=False)
class Ticket:
    """One request that wants to go out."""

    tokens: int
    """The most it can cost: estimated prompt tokens and `max_tokens`."""
    charge: Charge | None = None
    """The tokens that were taken for it."""


class Allowance:
    """So much in any 60 seconds, spread evenly. The caller holds the lock."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._charges: deque[Charge] = deque()
        self._spent = 0
        self._paid_until = float("-inf")

    def wait_s(self, amount: int, now: float, ahead: int = 0) -> float:
        """Seconds until so much may be taken, after what is ahead; more than the limit is let
        through alone."""
        self._forget(now)
        spread_s = max(self._paid_until, now) + self.seconds(ahead) - BURST_S - now
        excess = self._spent + ahead + min(amount, self.limit) - self.limit
        free_at = now
        for charge in self._charges:
            if excess <= 0:
                break
            excess -= charge.amount
            free_at = charge.at + WINDOW_S
        return max(0.0, spread_s, free_at - now)

    def take(self, amount: int, now: float) -> Charge:
        charge = Charge(now, amount)
        self._charges.append(charge)
        self._spent += amount
        self._paid_until = max(self._paid_until, now) + self.seconds(amount)
        return charge

    def correct(self, charge: Charge, amount: int, now: float) -> None:
        """Put what was really used in the place of what was taken."""
        self._forget(now)
        self._paid_until += self.seconds(amount - charge.amount)
        if charge.at > now - WINDOW_S:
            self._spent += amount - charge.amount
        charge.amount = amount

    def seconds(self, amount: int) -> float:
        """How long it takes for so much to become free."""
        return WINDOW_S * amount / self.limit

    def _forget(self, now: float) -> None:
        while self._charges and self._charges[0].at <= now - WINDOW_S:
            self._spent -= self._charges.popleft().amount


class Limits:
    """Requests and tokens a minute. Requests go out in the order in which they queued."""

    def __init__(
        self,
        requests_per_minute: int | None,
        tokens_per_minute: int | None,
        clock: Clock = time.monotonic,
    ) -> None:
        self._requests = Allowance(requests_per_minute) if requests_per_minute else None
        self._tokens = Allowance(tokens_per_minute) if tokens_per_minute else None
        self._clock = clock
        self._queue: dict[Ticket, None] = {}
        self._under_way: set[Ticket] = set()
        self._lock = Lock()

    def take(self, ticket: Ticket) -> Obstacle | None:
        """Let the request go, or give it a place in the queue and say which setting holds it.

        `wait_s` counts the requests ahead, but not their tokens, and says nothing of tokens while
        requests are under way: they may use fewer than were reserved, and make room at once.
        """
        with self._lock:
            self._queue.setdefault(ticket)
            now = self._clock()
            ahead = next(i for i, queued in enumerate(self._queue) if queued is ticket)
            waits: list[tuple[float, str]] = []
            if self._requests is not None:
                waits.append((self._requests.wait_s(1, now, ahead), "requests_per_minute"))
            if self._tokens is not None:
                waits.append((self._tokens.wait_s(ticket.tokens, now), "tokens_per_minute"))
            wait_s, setting = max(waits, default=(0.0, ""))
            if waits and (wait_s > 0 or ahead):
                if setting == "tokens_per_minute" and self._under_way:
                    wait_s = waits[0][0] if len(waits) > 1 else 0.0
                return _hold_back(setting, wait_s)
            del self._queue[ticket]
            self._under_way.add(ticket)
            if self._requests is not None:
                self._requests.take(1, now)
            if self._tokens is not None:
                ticket.charge = self._tokens.take(ticket.tokens, now)
        return None

    def settle(self, ticket: Ticket, tokens: int) -> None:
        """Count the tokens that were used in the place of those that were reserved."""
        with self._lock:
            if self._tokens is not None and ticket.charge is not None:
                self._tokens.correct(ticket.charge, tokens, self._clock())

    def leave(self, ticket: Ticket) -> None:
        """The request is over, or gives up its place in the queue; what was taken stays taken."""
        with self._lock:
            self._queue.pop(ticket, None)
            self._under_way.discard(ticket)


class Breaker:
    """Opens after so many failures in a row; a pause later one request probes."""

    def __init__(self, failures: int, pause_s: float, clock: Clock = time.monotonic) -> None:
        self._limit = failures
        self._first_pause_s = pause_s
        self._clock = clock
        self._failures = 0
        self._pause_s = 0.0  # 0 while the circuit is closed
        self._open_until = 0.0
        self._prober: Ticket | None = None
        self._lock = Lock()

    def enter(self, ticket: Ticket) -> Obstacle | None:
        """Let the request go, as the probe where the pause is over; or say how long it waits."""
        with self._lock:
            if not self._pause_s or self._prober is ticket:
                return None
            wait_s = self._open_until - self._clock()
            if wait_s <= 0 and self._prober is None:
                self._prober = ticket
                return None
            again = f"in {wait_s:.0f} s" if wait_s > 0 else "under way"
            message = (
                f"the server failed {self._limit} times in a row; the next try is {again}, "
                "past deadline_s; is the server well?"
            )
            # A reply that is still under way may close the circuit before the pause is over.
            return Obstacle("circuit_open", message, max(wait_s, POLL_S), POLL_S)

    def note_life(self) -> None:
        """The server answered: close the circuit."""
        with self._lock:
            self._failures, self._pause_s, self._prober = 0, 0.0, None

    def note_failure(self, ticket: Ticket) -> None:
        """A failure that may pass. Those of requests sent before the circuit opened add nothing."""
        with self._lock:
            self._failures += 1
            if self._pause_s and self._prober is ticket:
                longest = max(LONGEST_PAUSE_S, self._first_pause_s)
                self._open(min(2 * self._pause_s, longest))
            elif not self._pause_s and self._failures >= self._limit:
                self._open(self._first_pause_s)

    def leave(self, ticket: Ticket) -> None:
        """Let another request probe, if this one was to and did not come to it."""
        with self._lock:
            if self._prober is ticket:
                self._prober = None

    def _open(self, pause_s: float) -> None:
        self._pause_s, self._prober = pause_s, None
        self._open_until = self._clock() + pause_s


def _hold_back(setting: str, wait_s: float) -> Obstacle:
    sleep_s = min(wait_s, POLL_S) or POLL_S
    message = f"{setting} leaves no room before deadline_s is over; raise one of them"
    return Obstacle("rate_limited_here", message, max(wait_s, sleep_s), sleep_s)
