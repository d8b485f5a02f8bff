"""Configuration files in corosync's syntax, from dotted paths: `{"totem.token": 500}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..ipc.errors import InvalidArgument

Value = str | int
Section = dict[str, "Value | Section | list[Section]"]


def cluster_configuration(
    node_id: int,
    addresses: Mapping[int, str],
    port: int,
    keyfile: str,
    options: Mapping[str, Value],
) -> str:
    """The file of one node: corosync 3.x minimal with encryption on, changed by *options* (dotted path -> value)."""
    totem: Section = {
        "version": 2,
        "cluster_name": "testing",
        "transport": "udpu",
        "nodeid": node_id,
        "crypto_cipher": "aes256",
        "crypto_hash": "sha256",
        "keyfile": keyfile,
        "interface": {"linknumber": 0, "mcastport": port},
    }
    nodes: list[Section] = [
        {"ring0_addr": address, "nodeid": each, "name": f"node{each}"} for each, address in addresses.items()
    ]
    sections: Section = {
        "totem": totem,
        "nodelist": {"node": nodes},
        "logging": {"to_stderr": "yes", "to_syslog": "no", "timestamp": "hires"},
        # Several nodes share one machine with the tests themselves: none of them may take a processor for itself.
        "system": {"sched_rr": "no", "priority": 0},
    }
    for path, value in options.items():
        _set(sections, path.split("."), value)
    return render(sections)


def _set(section: Section, path: Sequence[str], value: Value) -> None:
    *folders, key = path
    for name in folders:
        inner = section.setdefault(name, {})
        if not isinstance(inner, dict):
            raise InvalidArgument(f"{'.'.join(path)}: {name} is no single section that an option could be set in")
        section = inner
    section[key] = value


def render(section: Section, indent: str = "") -> str:
    """A section's text; a list of sections is the same section several times."""
    lines = []
    for name, value in section.items():
        if isinstance(value, dict | list):
            for inner in value if isinstance(value, list) else [value]:
                lines.append(f"{indent}{name} {{\n{render(inner, indent + '    ')}{indent}}}\n")
        else:
            lines.append(f"{indent}{name}: {value}\n")
    return "".join(lines)
