"""Files: the configuration, its drop-ins, the key, the ring sequence."""

from __future__ import annotations

import ipaddress
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
from fuzzkit.target import Target
from totemd.executive.config.build import Settings, SourceText, build
from totemd.executive.config.host import LocalAddress, Unresolved
from totemd.executive.config.model import Configuration
from totemd.executive.keygen import read_key
from totemd.executive.totem.state_file import RING_SEQUENCE_MAX, RingSequenceFile
from totemd.ipc.errors import ConfigurationError, KeyFileError, OperationFailed

SHIPPED = Path(__file__).resolve().parents[3] / "conf"
"""The configurations that come with the program."""

SETTINGS = Settings(authkey_file="/etc/corosync/authkey", state_dir="/state")
LONE = "totem {\n version: 2\n}\nnodelist {\n node {\n  ring0_addr: 127.0.0.1\n  nodeid: 1\n }\n}\n"


class Machine:
    """A host that is the same everywhere."""

    def host_name(self) -> str:
        return "alpha"

    def local_addresses(self) -> tuple[LocalAddress, ...]:
        return tuple(map(ipaddress.ip_interface, ("127.0.0.1/8", "::1/128", "192.0.2.1/24", "2001:db8::1/64")))

    def reverse_name(self, address: str) -> str:
        return ""

    def resolve(self, name: str, versions: tuple[int, ...]) -> str:
        try:
            address = ipaddress.ip_address({"alpha": "192.0.2.1"}.get(name, name))
        except ValueError:
            raise Unresolved("Name or service not known") from None
        if address.version not in versions:
            raise Unresolved("Address family for hostname not supported")
        return str(address)

    def user_id(self, name: str) -> int | None:
        return {"root": 0}.get(name)

    def group_id(self, name: str) -> int | None:
        return {"root": 0}.get(name)


def _configured(make: Callable[[str], tuple[str, tuple[str, ...]]]) -> Callable[[bytes], bool]:
    def check(data: bytes) -> bool:
        main, drop_ins = make(data.decode("utf-8", "surrogateescape"))
        sources = [SourceText(f"d/{number}", text) for number, text in enumerate(drop_ins)]
        try:
            configuration = build(SourceText("c", main, "/etc/corosync"), sources, SETTINGS, Machine())
        except ConfigurationError as error:
            assert error.problems and all(error.problems)
            return False
        # This is how it goes to the children.
        packed = msgspec.msgpack.encode(configuration)
        assert msgspec.msgpack.decode(packed, type=Configuration) == configuration
        return True

    return check


def _configurations() -> Iterator[bytes]:
    yield LONE.encode()
    for file in sorted(SHIPPED.rglob("*.conf")):
        text = file.read_bytes()
        if _configured(lambda text: (text, ()))(text):
            yield text


def _drop_ins() -> Iterator[bytes]:
    yield b""
    yield b"uidgid {\n uid: 5\n gid: root\n}\n# who else\nuidgid {\n uid: root\n}\n"


def _check_state(data: bytes) -> bool:
    with tempfile.TemporaryDirectory(prefix="tf-") as directory:
        state = RingSequenceFile(Path(directory), 1)
        state.path.write_bytes(data)
        try:
            sequence = state.read()
        except OperationFailed:
            return False
        assert 0 <= sequence <= RING_SEQUENCE_MAX
        state.write(sequence + 1)
        assert sequence == RING_SEQUENCE_MAX or state.read() == sequence + 1
        return True


def _check_key(data: bytes) -> bool:
    with tempfile.TemporaryDirectory(prefix="tf-") as directory:
        file = Path(directory) / "authkey"
        file.touch(mode=0o400)
        file.write_bytes(data)
        try:
            assert read_key(file) == data
        except KeyFileError:
            return False
        return True


TARGETS = (
    Target("configuration", _configured(lambda text: (text, ())), _configurations),
    Target("uidgid-drop-in", _configured(lambda text: (LONE, (text,))), _drop_ins),
    Target("ring-sequence", _check_state, lambda: [bytes(8), b"\x01\0\0\0\0\0\0\0"]),
    Target("cluster-key", _check_key, lambda: [bytes(range(128))]),
)
