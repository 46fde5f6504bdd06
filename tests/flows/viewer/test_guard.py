"""Nobody but a browser on this machine is answered, and no page may do more than it should."""

import pytest

from flows.store import RunDirectory
from flows.viewer.guard import POLICY
from tests.flows.viewer.asker import Asker


@pytest.fixture(scope="module")
def asker(viewed: RunDirectory) -> Asker:
    return Asker(viewed.root)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8001", "127.0.0.1.evil.example", ""]
)
def test_request_for_another_host_is_refused(asker: Asker, host: str) -> None:
    answer = asker.get("/", host=host)
    assert answer.status_code == 403
    assert answer.text == "This viewer answers to 127.0.0.1, localhost, [::1] only.\n"


@pytest.mark.parametrize("host", ["127.0.0.1:8001", "localhost", "[::1]:8001", "[::1]"])
def test_request_to_this_machine_is_answered(asker: Asker, host: str) -> None:
    assert asker.get("/rows", host=host).status_code == 200


def test_form_of_another_site_is_refused(asker: Asker) -> None:
    answer = asker.post("/refresh", {}, origin="http://evil.example")
    assert answer.status_code == 403
    assert answer.text == "A form of another site is not taken.\n"


def test_form_without_a_cookie_is_refused(viewed: RunDirectory) -> None:
    answer = Asker(viewed.root).post("/refresh", {})
    assert answer.status_code == 403
    assert answer.text == (
        "The form's cookie is missing: open the page again, and allow cookies for it.\n"
    )


def test_form_with_a_wrong_token_is_refused(asker: Asker) -> None:
    asker.get("/rows")
    assert asker.post("/refresh", {"csrftoken": "guessed"}).status_code == 403


@pytest.mark.parametrize(
    "path",
    ["/", "/rows", "/rows?q=harbour", "/versions", "/row/nobody", "/viewer", "/viewer/rows"],
)
def test_policy_is_on_every_page(asker: Asker, path: str) -> None:
    headers = asker.get(path).headers
    assert headers["content-security-policy"] == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["x-frame-options"] == "DENY"


def test_policy_lets_no_inline_script_run() -> None:
    assert "script-src 'self'" in POLICY
    assert "unsafe" not in POLICY
    assert "http" not in POLICY


@pytest.mark.parametrize("path", ["/", "/rows", "/versions"])
def test_pages_hold_no_inline_script_or_style(asker: Asker, path: str) -> None:
    page = asker.get(path).text
    assert page.count("<script") == 1
    assert '<script src="/assets/viewer.js" defer></script>' in page
    assert " style=" not in page
    assert "<style" not in page
    assert "http://" not in page.replace('xmlns="http://www.w3.org/2000/svg"', "")
    assert "https://" not in page
