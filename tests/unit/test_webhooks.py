"""The parts of webhooks: addresses, waits, secrets, and one attempt to deliver."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from obligor.errors import SchemaError
from obligor.serving.settings import Settings
from obligor.serving.webhooks.address_guard import AddressGuard, parsed_networks
from obligor.serving.webhooks.backoff import FIRST, LONGEST, wait_before
from obligor.serving.webhooks.secrets import new_secret, parsed_secrets
from obligor.serving.webhooks.sender import Message, Sender
from tests.receivers import THIS_MACHINE, Receiver, running_receiver

SECRET = new_secret(lambda n_bytes: bytes(range(n_bytes)))
OLD_SECRET = new_secret(lambda n_bytes: bytes(n_bytes))
MESSAGE = Message("d-1-limit-changed", '{"id":"d-1"}', [SECRET])
LOCAL = AddressGuard(parsed_networks(THIS_MACHINE))


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with running_receiver() as receiver:
        receiver.secret = SECRET
        yield receiver


def sender(timeout_s: float = 10) -> Sender:
    return Sender(LOCAL, timeout_s)


# --- addresses


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "100.64.0.1",
        "169.254.169.254",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "64:ff9b::7f00:1",
        "64:ff9b::a9fe:a9fe",
        "2002:7f00:1::",
    ],
)
def test_an_address_that_is_not_public_may_not_be_called(address: str) -> None:
    assert not AddressGuard().allows(ip_address(address))


@pytest.mark.parametrize("address", ["93.184.216.34", "2606:4700::1111"])
def test_a_public_address_may_be_called(address: str) -> None:
    assert AddressGuard().allows(ip_address(address))


def test_a_network_can_be_allowed() -> None:
    guard = AddressGuard(parsed_networks("10.0.0.0/8"))
    assert guard.allows(ip_address("10.1.2.3"))
    assert guard.allows(ip_address("::ffff:10.1.2.3"))
    assert not guard.allows(ip_address("192.168.1.1"))


@pytest.mark.parametrize(
    "url",
    [
        "http://example.com/hook",
        "ftp://example.com/hook",
        "file:///etc/passwd",
        "//example.com/hook",
        "example.com/hook",
        "https://",
        "https://user:word@example.com/hook",
        "https://example.com/hook#part",
        "https://example.com:99999/hook",
        "https://example.com/" + "x" * 2000,
        "http://127.0.0.1:8000/hook",
        "http://localhost/hook",
    ],
)
def test_a_url_that_may_not_be_called_is_refused(url: str) -> None:
    with pytest.raises(SchemaError):
        AddressGuard().url(url)


def test_http_is_allowed_to_this_machine_only_if_its_network_is() -> None:
    assert LOCAL.url("http://127.0.0.1:8000/hook").host == "127.0.0.1"
    with pytest.raises(SchemaError, match="not encrypted"):
        AddressGuard(parsed_networks("10.0.0.0/8")).url("http://10.1.2.3/hook")


@pytest.mark.parametrize(
    "url",
    [
        "https://127.0.0.1/hook",
        "https://2130706433/hook",
        "https://0x7f.1/hook",
        "https://[::1]/hook",
        "https://[::ffff:127.0.0.1]/hook",
        "https://localhost/hook",
    ],
)
def test_every_spelling_of_this_machine_is_refused(url: str) -> None:
    attempt = Sender(AddressGuard()).send(url, MESSAGE, datetime.now(UTC))
    assert attempt.status is None
    assert "not public" in attempt.error or "no address" in attempt.error


def test_a_name_that_points_elsewhere_at_last_is_refused(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The address is checked when the connection is made, not when it is configured."""
    url = receiver.url.replace("127.0.0.1", "hooks.example.com")
    answers = [("127.0.0.1", 80)]

    def resolve(host: str, port: int, **_: object) -> list[tuple[object, ...]]:
        return [(0, 0, 0, "", answer) for answer in answers]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)
    https = url.replace("http://", "https://")
    assert AddressGuard().url(https).host == "hooks.example.com"
    attempt = Sender(AddressGuard()).send(https, MESSAGE, datetime.now(UTC))
    assert "not public" in attempt.error
    # One address that is not public spoils the name, whatever its others are.
    answers = [("93.184.216.34", 80), ("10.0.0.1", 80)]
    attempt = Sender(AddressGuard()).send(https, MESSAGE, datetime.now(UTC))
    assert "not public" in attempt.error
    assert receiver.ids() == []


@pytest.mark.parametrize("text", ["10.0.0.0/33", "home", "10.0.0.1/8"])
def test_what_is_not_a_network_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="OBLIGOR_WEBHOOK_NETWORKS"):
        parsed_networks(text)


@pytest.mark.parametrize("text", ["0", "-1", "nan", "three", "366"])
def test_what_is_not_a_number_of_days_is_refused(text: str) -> None:
    with pytest.raises(SchemaError, match="OBLIGOR_WEBHOOK_DAYS"):
        Settings.of({"OBLIGOR_WEBHOOK_DAYS": text})


# --- waits


@given(
    attempts=st.integers(1, 10_000),
    chance=st.floats(0, 1, exclude_max=True),
)
def test_a_wait_is_capped_and_anything_below_the_cap(
    attempts: int, chance: float
) -> None:
    wait = wait_before(attempts, chance)
    assert timedelta(0) <= wait <= LONGEST
    assert wait == wait_before(attempts, 1.0) * chance


def test_the_bound_of_a_wait_doubles_up_to_the_cap() -> None:
    bounds = [wait_before(attempts, 1.0) for attempts in range(1, 16)]
    assert bounds[0] == FIRST
    for shorter, longer in pairwise(bounds):
        assert longer == min(2 * shorter, LONGEST)
    assert bounds[-1] == LONGEST


# --- secrets


@pytest.mark.parametrize(
    "text",
    [
        "",
        "whsec_",
        "whsec_c2hvcnQ=",
        "whsec_" + "?" * 40,
        SECRET.removeprefix("whsec_"),
        f"{SECRET} short",
    ],
)
def test_what_is_not_a_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(SchemaError) as caught:
        parsed_secrets(text, "HOOK_SECRET")
    assert "HOOK_SECRET" in str(caught.value)
    assert SECRET not in str(caught.value)


def test_several_secrets_are_read() -> None:
    assert parsed_secrets(f" {SECRET}  {OLD_SECRET}\n", "X") == [SECRET, OLD_SECRET]


# --- one attempt


def test_an_event_is_signed_for_every_secret(receiver: Receiver) -> None:
    message = MESSAGE._replace(secrets=[OLD_SECRET, SECRET])
    attempt = sender().send(receiver.url, message, datetime.now(UTC))
    assert attempt.is_delivered
    (delivery,) = receiver.deliveries
    assert delivery.is_signed
    assert delivery.body == message.body
    assert delivery.headers["webhook-id"] == message.event_id
    assert delivery.headers["content-type"] == "application/cloudevents+json"
    assert len(delivery.headers["webhook-signature"].split()) == 2


def test_an_event_signed_with_another_secret_is_not_verified(
    receiver: Receiver,
) -> None:
    message = MESSAGE._replace(secrets=[OLD_SECRET])
    sender().send(receiver.url, message, datetime.now(UTC))
    assert not receiver.deliveries[0].is_signed


def test_without_a_secret_nothing_is_sent(receiver: Receiver) -> None:
    message = MESSAGE._replace(secrets=[])
    attempt = sender().send(receiver.url, message, datetime.now(UTC))
    assert "no secret" in attempt.error
    assert receiver.ids() == []


@pytest.mark.parametrize("status", [400, 404, 410, 429, 500, 503])
def test_a_refusal_is_no_delivery(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    attempt = sender().send(receiver.url, MESSAGE, datetime.now(UTC))
    assert (attempt.status, attempt.is_delivered) == (status, False)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("120", 120), ("", 0), ("-5", 0), ("9" * 20, 0), ("Fri, 01 Jan 2027", 0)],
)
def test_a_receiver_may_ask_for_time(
    receiver: Receiver, header: str, seconds: int
) -> None:
    receiver.statuses = [503]
    receiver.retry_after = header
    attempt = sender().send(receiver.url, MESSAGE, datetime.now(UTC))
    assert attempt.retry_after_s == seconds


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    receiver.statuses = [status]
    receiver.location = receiver.url
    attempt = sender().send(receiver.url, MESSAGE, datetime.now(UTC))
    assert attempt.error == "redirects are not followed"
    assert receiver.ids() == [MESSAGE.event_id]


def test_a_receiver_that_hangs_is_given_up(receiver: Receiver) -> None:
    receiver.hangs_s = 30
    attempt = sender(timeout_s=0.5).send(receiver.url, MESSAGE, datetime.now(UTC))
    assert (attempt.status, attempt.error) == (None, "no answer (ReadTimeout)")


def test_a_receiver_that_drips_is_given_up(receiver: Receiver) -> None:
    """Each byte comes in time; the answer does not."""
    receiver.drips = True
    attempt = sender(timeout_s=0.5).send(receiver.url, MESSAGE, datetime.now(UTC))
    assert (attempt.status, attempt.error) == (None, "no answer (ReadTimeout)")


def test_an_answer_without_end_is_cut_off(receiver: Receiver) -> None:
    """The status counts; what comes after it is neither kept nor read to its end."""
    receiver.flood = 2_000_000_000
    attempt = sender(timeout_s=20).send(receiver.url, MESSAGE, datetime.now(UTC))
    assert attempt.is_delivered


def test_a_dead_receiver_is_no_delivery() -> None:
    with running_receiver() as receiver:
        url = receiver.url
    attempt = sender().send(url, MESSAGE, datetime.now(UTC))
    assert attempt[:2] == (None, "no answer (ConnectError)")


def test_what_is_not_http_is_no_delivery() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")

        threading.Thread(target=answer, daemon=True).start()
        url = f"http://127.0.0.1:{port}/hook"
        attempt = sender().send(url, MESSAGE, datetime.now(UTC))
    assert attempt[:2] == (None, "no answer (RemoteProtocolError)")
