"""Who may ask the viewer, and what its pages may do: a wrapper around the whole application.

The viewer has no password, since it listens on this machine alone. So a page of another site must
not be able to speak to it: not under a name of its own that points here (DNS rebinding), not by a
form that it posts here, and not inside a frame. And the pages show what models wrote, so their
policy lets no script run but our own file.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Scope = MutableMapping[str, Any]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names under which a browser on this machine asks."""
SAFE = ("GET", "HEAD", "OPTIONS")
TOKEN_COOKIE = "ds_csrftoken"
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data:",
        "connect-src 'self'",
        "form-action 'self'",
        "base-uri 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not `no-referrer`: a browser would then send `Origin: null` with our own forms.
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}


_NAMES = {name.encode() for name in HEADERS}


def guard(application: Application) -> Application:
    """Refuse strangers, and put the policy on every answer."""

    async def guarded(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await application(scope, receive, send)
            return

        async def send_with_policy(event: MutableMapping[str, Any]) -> None:
            if event["type"] == "http.response.start":
                others = [h for h in event.get("headers", ()) if h[0].lower() not in _NAMES]
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                event = {**event, "headers": [*others, *own]}
            await send(event)

        if fault := find_fault(scope):
            await _refuse(send_with_policy, fault)
        else:
            await application(scope, receive, send_with_policy)

    return guarded


def find_fault(scope: Scope) -> str | None:
    """Why a request is refused; None where it is not."""
    headers = {name.decode().lower(): value.decode("latin-1") for name, value in scope["headers"]}
    host = headers.get("host", "")
    if _strip_port(host) not in LOOPBACK:
        return f"This viewer answers to {', '.join(LOOPBACK)} only."
    if scope["method"] in SAFE:
        return None
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return "A form of another site is not taken."
    # Without any cookie asgi-csrf lets a form pass, since elsewhere nobody would be logged in.
    if TOKEN_COOKIE not in headers.get("cookie", ""):
        return "The form's cookie is missing: open the page again, and allow cookies for it."
    return None


def _strip_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


async def _refuse(send: Send, fault: str) -> None:
    headers = [(b"content-type", b"text/plain; charset=utf-8")]
    await send({"type": "http.response.start", "status": 403, "headers": headers})
    await send({"type": "http.response.body", "body": f"{fault}\n".encode()})
