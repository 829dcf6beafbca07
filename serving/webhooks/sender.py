"""One attempt to deliver an event: signed, sent to a checked address, in limited time.

Redirects are not followed, the environment's proxies are not used, and of the answer
only the status counts.
"""

from __future__ import annotations

import ssl
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import datetime
from typing import NamedTuple

import httpcore
import httpx
from standardwebhooks import Webhook

from obligor.errors import ObligorError, SchemaError
from obligor.serving.webhooks.address_guard import AddressGuard
from obligor.serving.webhooks.cloud_event import MEDIA_TYPE

# The whole attempt, from the look-up of the name to the end of the answer.
TIMEOUT_S = 10.0
# What is read of an answer's body, and dropped; then the connection is closed.
MOST_ANSWER_BYTES = 64 * 1024
LONGEST_ERROR = 200
# Digits of a number of seconds; a longer one is no answer to take seriously.
LONGEST_RETRY_AFTER = 8
_SocketOption = (
    tuple[int, int, int]
    | tuple[int, int, bytes | bytearray]
    | tuple[int, int, None, int]
)


class Message(NamedTuple):
    """What is sent, and the secrets that sign it.

    Attributes
    ----------
    event_id : str
        The ``webhook-id``.
    body : str
        The event.
    secrets : sequence of str
        ``whsec_...``; each gives one signature.
    """

    event_id: str
    body: str
    secrets: Sequence[str]


class Attempt(NamedTuple):
    """How an attempt went.

    Attributes
    ----------
    status : int, optional
        The status of the answer; None if there was none.
    error : str
        Why the event counts as not delivered; empty if it was delivered.
    retry_after_s : int
        Seconds for which the receiver asks not to be called; 0 if it does not ask.
    """

    status: int | None
    error: str
    retry_after_s: int = 0

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has taken the event."""
        return not self.error


def signature_headers(message: Message, at: datetime) -> dict[str, str]:
    """Return the headers that Standard Webhooks 1.0 asks for.

    Parameters
    ----------
    message : Message
        The message.
    at : datetime
        The time of this attempt, in UTC.

    Returns
    -------
    dict of str to str
        ``webhook-id``, ``webhook-timestamp`` and ``webhook-signature``, which has one
        HMAC-SHA-256 over ``id.timestamp.body`` for each secret.

    Examples
    --------
    The test vector of the Standard Webhooks libraries:

    >>> from datetime import UTC
    >>> body = '{"test": 2432232314}'
    >>> secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    >>> message = Message("msg_p5jXN8AQM9LWM0D4loKWxJek", body, [secret])
    >>> at = datetime.fromtimestamp(1614265330, UTC)
    >>> signature_headers(message, at)["webhook-signature"]
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    signatures = list[str]()
    for secret in message.secrets:
        webhook = Webhook(secret)
        signatures.append(webhook.sign(message.event_id, at, message.body))
    return {
        "webhook-id": message.event_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": " ".join(signatures),
    }


class Sender:
    """Sends events.

    Parameters
    ----------
    guard : AddressGuard
        Says which addresses may be called; the commands ask it, too.
    timeout_s : float, optional
        Seconds an attempt may take.
    tls : SSLContext, optional
        By default the system's authorities are trusted, as by httpx.
    """

    def __init__(
        self,
        guard: AddressGuard,
        timeout_s: float = TIMEOUT_S,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.guard = guard
        self._timeout_s = timeout_s
        self._tls = tls or httpx.create_ssl_context()

    def send(self, url: str, message: Message, at: datetime) -> Attempt:
        """Send a message once.

        Parameters
        ----------
        url : str
            The endpoint.
        message : Message
            The event and the secrets that sign it.
        at : datetime
            The time, in UTC.

        Returns
        -------
        Attempt
            Delivered if the status is 2xx; whatever else happens is in its error.
        """
        try:
            if not message.secrets:
                raise SchemaError("the endpoint has no secret", where="webhook")
            signatures = signature_headers(message, at)
            target = self.guard.url(url)
            answer = self._post(target, signatures, message.body.encode())
        except ObligorError as error:
            return Attempt(None, str(error)[:LONGEST_ERROR])
        except _TRANSPORT_ERRORS as error:
            # The class only: its text may repeat what the receiver sent.
            return Attempt(None, f"no answer ({type(error).__name__})")
        return answer

    def _post(self, url: httpx.URL, signatures: dict[str, str], body: bytes) -> Attempt:
        headers: list[tuple[bytes | str, bytes | str]] = [
            ("host", url.netloc),
            ("content-type", MEDIA_TYPE),
            ("content-length", str(len(body))),
            ("user-agent", "obligor-webhooks"),
            ("connection", "close"),
            *signatures.items(),
        ]
        deadline = _Deadline(self._timeout_s)
        backend = _GuardedBackend(self.guard, deadline, url.scheme == "https")
        with (
            httpcore.ConnectionPool(
                ssl_context=self._tls,
                max_connections=1,
                max_keepalive_connections=0,
                network_backend=backend,
            ) as pool,
            pool.stream(
                "POST",
                httpcore.URL(
                    scheme=url.raw_scheme,
                    host=url.raw_host,
                    port=url.port,
                    target=url.raw_path,
                ),
                headers=headers,
                content=body,
            ) as response,
        ):
            _read_some(response)
            return _attempt(response)


_TRANSPORT_ERRORS = (
    httpcore.TimeoutException,
    httpcore.NetworkError,
    httpcore.ProtocolError,
    ssl.SSLError,
    OSError,
)


def _attempt(response: httpcore.Response) -> Attempt:
    """Return how an attempt went that was answered."""
    status = response.status
    if 200 <= status < 300:
        return Attempt(status, "")
    if 300 <= status < 400:
        return Attempt(status, "redirects are not followed")
    retry_after = b""
    for name, value in response.headers:
        if name.lower() == b"retry-after":
            retry_after = value
    # The other form of the header, a date, is rare: the usual wait has to do.
    is_seconds = retry_after.isdigit() and len(retry_after) < LONGEST_RETRY_AFTER
    seconds = int(retry_after) if is_seconds else 0
    return Attempt(status, "the receiver refused it", seconds)


def _read_some(response: httpcore.Response) -> None:
    """Read the body of an answer up to a size; its status has come already."""
    n_bytes = 0
    with suppress(*_TRANSPORT_ERRORS):
        for part in response.iter_stream():
            n_bytes += len(part)
            if n_bytes > MOST_ANSWER_BYTES:
                return


class _Deadline:
    """The end of an attempt: a receiver that sends a byte at a time gains nothing."""

    def __init__(self, seconds: float) -> None:
        self._end = time.monotonic() + seconds

    def remaining_s(self) -> float:
        """Return the seconds that are left.

        Raises
        ------
        TimeoutException
            If there are none.
        """
        remaining = self._end - time.monotonic()
        if remaining <= 0:
            raise httpcore.ReadTimeout("the attempt took too long")
        return remaining


class _GuardedBackend(httpcore.NetworkBackend):
    """Connects to checked addresses only, until a deadline."""

    def __init__(
        self, guard: AddressGuard, deadline: _Deadline, is_encrypted: bool
    ) -> None:
        self._guard = guard
        self._deadline = deadline
        self._is_encrypted = is_encrypted

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[_SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the checked address of a host."""
        address = self._guard.address(host, port, self._is_encrypted)
        stream = httpcore.SyncBackend().connect_tcp(
            address,
            port,
            timeout=self._deadline.remaining_s(),
            local_address=local_address,
            socket_options=socket_options,
        )
        return _DeadlineStream(stream, self._deadline)


class _DeadlineStream(httpcore.NetworkStream):
    """A connection on which nothing lasts longer than the deadline allows."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: _Deadline) -> None:
        self._stream = stream
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read some bytes."""
        return self._stream.read(max_bytes, self._deadline.remaining_s())

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write bytes."""
        self._stream.write(buffer, self._deadline.remaining_s())

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Encrypt the connection; the certificate must name the URL's host."""
        remaining_s = self._deadline.remaining_s()
        stream = self._stream.start_tls(ssl_context, server_hostname, remaining_s)
        return _DeadlineStream(stream, self._deadline)

    def get_extra_info(self, info: str) -> object:
        """Return what is known of the connection, such as its socket."""
        return self._stream.get_extra_info(info)
