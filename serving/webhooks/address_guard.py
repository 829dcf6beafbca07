"""Which addresses may be called: public ones, and networks that were allowed.

Whoever may add an endpoint must not be able to reach what only this machine can reach:
its own services, its network, the metadata of its cloud (OWASP, Server-Side Request
Forgery Prevention).
"""

from __future__ import annotations

import socket
from collections.abc import Sequence
from ipaddress import (
    IPv4Address,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)

import httpx

from obligor.errors import SchemaError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address
LONGEST_URL = 2000
LAST_PORT = 65535
# IPv6 addresses that carry an IPv4 address in their last 32 bits (RFC 6052, 2.1).
_NAT64 = IPv6Network("64:ff9b::/96")


class AddressGuard:
    """Says which URLs may be called, and at which address.

    Parameters
    ----------
    allowed : sequence of network
        Networks that may be called although they are not public.
    """

    def __init__(self, allowed: Sequence[Network] = ()) -> None:
        self._allowed = tuple(allowed)

    def url(self, text: str) -> httpx.URL:
        """Return a URL that may be called as far as its text shows.

        `address` checks the address when the connection is made.

        Raises
        ------
        SchemaError
            If it is not https (http is allowed to this machine, if its network is
            allowed), names a user, or has a fragment.
        """
        try:
            url = httpx.URL(text)
        except (httpx.InvalidURL, ValueError):
            raise _refused(f"{text!r} is not a URL") from None
        if url.scheme not in ("https", "http") or not url.host:
            raise _refused(f"{text!r} is not an https URL")
        if url.userinfo or url.fragment or len(text) > LONGEST_URL:
            raise _refused("the URL names a user, has a fragment, or is too long")
        if url.port is not None and not 1 <= url.port <= LAST_PORT:
            raise _refused("the URL's port does not exist")
        if url.scheme == "http" and not self._is_this_machine(url.host):
            raise _refused("the URL is not encrypted")
        return url

    def address(self, host: str, port: int, is_encrypted: bool) -> str:
        """Return the address to connect to.

        Every address of the name must be allowed, and the connection goes to the one
        that was checked: a name cannot point elsewhere between check and connection.

        Parameters
        ----------
        host : str
            The name or address in the URL.
        port : int
            The port.
        is_encrypted : bool
            Whether the URL is https; without, only this machine may be called.

        Returns
        -------
        str
            An IP address.

        Raises
        ------
        SchemaError
            If the name has no address, or one that may not be called.
        """
        addresses = _addresses_of(host, port)
        if not addresses:
            raise SchemaError(f"{host} has no address", where="URL")
        for address in addresses:
            if not is_encrypted and not address.is_loopback:
                raise _refused("the URL is not encrypted")
            if not self.allows(address):
                raise SchemaError(
                    f"{host} has an address that is not public",
                    where="URL",
                    do="name its network in OBLIGOR_WEBHOOK_NETWORKS if it may be "
                    "called",
                )
        return str(addresses[0])

    def allows(self, address: Address) -> bool:
        """Return whether an address may be called."""
        if any(address in network for network in self._allowed):
            return True
        embedded = _embedded(address)
        if embedded is not None:
            return self.allows(embedded)
        return address.is_global and not address.is_multicast

    def _is_this_machine(self, host: str) -> bool:
        addresses = _addresses_of(host, 80)
        if not addresses:
            return False
        for address in addresses:
            if not (address.is_loopback and self.allows(address)):
                return False
        return True


def parsed_networks(text: str) -> tuple[Network, ...]:
    """Return the networks that a text names, separated by blanks or commas.

    Raises
    ------
    SchemaError
        If a part of it is not a network.

    Examples
    --------
    >>> parsed_networks("127.0.0.1/32, 10.0.0.0/8")
    (IPv4Network('127.0.0.1/32'), IPv4Network('10.0.0.0/8'))
    """
    networks = list[Network]()
    for part in text.replace(",", " ").split():
        try:
            networks.append(ip_network(part))
        except ValueError:
            raise SchemaError(
                f"{part!r} is not a network",
                where="OBLIGOR_WEBHOOK_NETWORKS",
                expected="such as 10.0.0.0/8",
            ) from None
    return tuple(networks)


def _addresses_of(host: str, port: int) -> list[Address]:
    try:
        rows = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError:
        return []
    # The part behind % is the interface of a link-local address.
    texts = dict.fromkeys(str(row[4][0]).partition("%")[0] for row in rows)
    return [ip_address(text) for text in texts]


def _embedded(address: Address) -> IPv4Address | None:
    """Return the IPv4 address that an IPv6 address leads to, if there is one."""
    if isinstance(address, IPv4Address):
        return None
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    if address.teredo is not None:
        return address.teredo[1]
    return address.ipv4_mapped or address.sixtofour


def _refused(message: str) -> SchemaError:
    return SchemaError(
        message,
        where="URL",
        expected="https://host/path; http only to an address of this machine whose "
        "network OBLIGOR_WEBHOOK_NETWORKS allows",
    )
