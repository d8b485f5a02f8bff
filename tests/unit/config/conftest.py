"""Fixtures that several unit tests share."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping

import pytest
from totemd.executive.config.build import Settings, SourceText, build
from totemd.executive.config.host import LocalAddress, Unresolved
from totemd.executive.config.model import Configuration


class ScriptedHost:
    """A machine made up for a test; `asked` lists what needed a name server."""

    def __init__(
        self,
        name: str = "elsewhere",
        local: tuple[str, ...] = ("127.0.0.1/8", "::1/128", "192.0.2.11/24"),
        names: Mapping[str, tuple[str, ...]] | None = None,
        reverse: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.local = tuple(ipaddress.ip_interface(address) for address in local)
        self.names = names or {}
        self.reverse = reverse or {}
        self.asked: list[str] = []

    def host_name(self) -> str:
        return self.name

    def local_addresses(self) -> tuple[LocalAddress, ...]:
        return self.local

    def reverse_name(self, address: str) -> str:
        self.asked.append(address)
        return self.reverse.get(address, "")

    def resolve(self, name: str, versions: tuple[int, ...]) -> str:
        try:
            known: tuple[str, ...] = (str(ipaddress.ip_address(name)),)
        except ValueError:
            self.asked.append(name)
            known = self.names.get(name, ())
        for version in versions:
            for address in known:
                if ipaddress.ip_address(address).version == version:
                    return address
        raise Unresolved("Name or service not known")

    def user_id(self, name: str) -> int | None:
        return {"root": 0, "hacluster": 189}.get(name)

    def group_id(self, name: str) -> int | None:
        return {"root": 0, "haclient": 189}.get(name)


@pytest.fixture
def scripted_host() -> type[ScriptedHost]:
    """The class, so that a test can make up a machine."""
    return ScriptedHost


Configure = Callable[..., Configuration]


@pytest.fixture
def configure() -> Configure:
    """A configuration from text: `configure(text, drop_ins=(text, …), host=…, strict=…)`; the file is called `c`."""

    def from_text(
        text: str, *, drop_ins: tuple[str, ...] = (), host: ScriptedHost | None = None, strict: bool = False
    ) -> Configuration:
        settings = Settings(authkey_file="/etc/corosync/authkey", state_dir="/state", strict=strict)
        sources = [SourceText(f"uidgid.d/{number}", drop_in) for number, drop_in in enumerate(drop_ins)]
        return build(SourceText("c", text, "/etc/corosync"), sources, settings, host or ScriptedHost())

    return from_text
