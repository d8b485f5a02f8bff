"""The cluster key: made whole and private, refused when it is neither."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest
from totemd.executive import keygen
from totemd.executive.config.model import TotemOptions
from totemd.executive.keygen import cluster_key, create_key, read_key
from totemd.ipc.errors import InvalidArgument, KeyFileError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "auth key"


def test_a_new_key(file: Path) -> None:
    assert create_key(file) == file
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert len(read_key(file)) == 128
    assert list(file.parent.iterdir()) == [file]


def test_the_mode_does_not_depend_on_the_umask(file: Path) -> None:
    before = os.umask(0o777)
    try:
        create_key(file)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o400


def test_the_key_comes_from_the_generator(file: Path, tmp_path: Path) -> None:
    create_key(file, 2048, randomness=lambda size: bytes([7]) * size)
    assert read_key(file) == bytes([7]) * 256
    assert read_key(create_key(tmp_path / "a")) != read_key(create_key(tmp_path / "b"))


@pytest.mark.parametrize("bits", [1024, 1032, 32768])
def test_sizes(file: Path, bits: int) -> None:
    create_key(file, bits)
    assert 8 * len(read_key(file)) == bits


@pytest.mark.parametrize("bits", [0, -8, 1016, 1023, 1025, 32776])
def test_sizes_that_cannot_be(file: Path, bits: int) -> None:
    with pytest.raises(InvalidArgument, match="1024 to 32768 bits"):
        create_key(file, bits)
    assert not file.exists()


def test_nothing_is_overwritten_unasked(file: Path) -> None:
    create_key(file)
    key = read_key(file)
    with pytest.raises(KeyFileError, match=r"totemctl keygen --force -k '.*auth key'"):
        create_key(file)
    assert read_key(file) == key
    create_key(file, force=True)
    assert read_key(file) != key
    assert stat.S_IMODE(file.stat().st_mode) == 0o400
    assert list(file.parent.iterdir()) == [file]


def test_not_even_a_dangling_link_is_overwritten(file: Path) -> None:
    file.symlink_to(file.parent / "nowhere")
    with pytest.raises(KeyFileError, match="exists"):
        create_key(file)


def test_a_key_that_appears_meanwhile_is_not_overwritten(file: Path) -> None:
    def somebody_else_is_quicker(size: int) -> bytes:
        file.write_bytes(b"theirs")
        return bytes(size)

    with pytest.raises(KeyFileError, match="exists"):
        create_key(file, randomness=somebody_else_is_quicker)
    assert file.read_bytes() == b"theirs"
    assert list(file.parent.iterdir()) == [file]


def test_no_directory(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="mkdir -p"):
        create_key(tmp_path / "no" / "key")


@pytest.mark.parametrize("force", [False, True])
def test_nothing_is_left_of_a_key_that_could_not_be_written(
    file: Path, monkeypatch: pytest.MonkeyPatch, force: bool
) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(keygen.os, "fsync", full)
    with pytest.raises(KeyFileError, match="No space left on device"):
        create_key(file, force=force)
    assert list(file.parent.iterdir()) == []


@pytest.mark.parametrize("mode", [0o440, 0o404, 0o644, 0o420, 0o600 | 0o001])
def test_a_key_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    create_key(file)
    file.chmod(mode)
    with pytest.raises(KeyFileError) as caught:
        read_key(file)
    assert str(caught.value).endswith(f"chmod 0400 '{file}'")


@pytest.mark.parametrize("mode", [0o400, 0o600, 0o700])
def test_a_key_of_its_owner_alone_is_accepted(file: Path, mode: int) -> None:
    create_key(file)
    file.chmod(mode)
    assert len(read_key(file)) == 128


def test_a_key_of_somebody_else_is_refused(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    create_key(file)
    if file.stat().st_uid == 0:
        os.chown(file, 4711, -1)
    else:
        monkeypatch.setattr(keygen.os, "geteuid", lambda: 4711)
    with pytest.raises(KeyFileError, match=r"could exchange it; mend it with: chown"):
        read_key(file)


def test_no_key(file: Path) -> None:
    with pytest.raises(KeyFileError) as caught:
        read_key(file)
    assert f"totemctl keygen -k '{file}'" in str(caught.value)


@pytest.mark.parametrize("size", [0, 1, 127])
def test_a_key_that_is_too_short(file: Path, size: int) -> None:
    file.write_bytes(bytes(size))
    file.chmod(0o400)
    with pytest.raises(KeyFileError, match=f"Could only read {8 * size} bits of minimum 1024 bits"):
        read_key(file)


def test_a_key_that_is_too_long(file: Path) -> None:
    file.write_bytes(bytes(4097))
    file.chmod(0o400)
    with pytest.raises(KeyFileError, match="too long"):
        read_key(file)


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match="no regular file"):
        read_key(tmp_path)
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o400)
    with pytest.raises(KeyFileError, match="no regular file"):
        read_key(pipe)


def test_the_key_that_the_configuration_asks_for(file: Path) -> None:
    create_key(file)
    options = TotemOptions(cipher="aes256", keyfile=str(file))
    assert cluster_key(options) == read_key(file)
    assert cluster_key(TotemOptions(cipher="aes256", keyfile=str(file), key="ä" * 64)) == ("ä" * 64).encode()
    assert cluster_key(TotemOptions(integrity=True, keyfile=str(file))) == read_key(file)
    assert cluster_key(TotemOptions(keyfile="/nowhere")) == b""
