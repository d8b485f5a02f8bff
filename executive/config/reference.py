"""docs/configuration.md, rendered from the option table: `python -m totemd.executive.config.reference > docs/…`.

A test holds the committed page against what this module renders, so the page cannot say anything else than the table.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from .kinds import Value
from .options import Effect, Option, effective_values
from .options_nodes import LINKS_MAX, NODES_MAX
from .options_totem import TOTEM_OPTIONS
from .parser import LINE_BYTES_MAX, PATH_BYTES_MAX
from .schema import SECTIONS, SectionKind, Shape, option_at, options_of

INTRODUCTION = f"""\
# Configuration

*Made from the option table by `python -m totemd.executive.config.reference`: edit the table, not this page.*

totemd reads corosync's configuration file, `corosync.conf`, unchanged. `totemd -t` checks a file and says all that is
wrong with it, each as `FILE:LINE: what is wrong, what would be accepted`; with `--strict`, names that no table knows
are wrong too. Examples are in [`conf/`](../conf).

## The file

The file is found by `-c FILE`, else `COROSYNC_MAIN_CONFIG_FILE`, else at `/etc/corosync/corosync.conf`. Where the last
is left and does not exist, the node runs alone on loopback, and says which defaults it uses. Every file in `uidgid.d/`
beside it that is not hidden is read too; only `uidgid` sections are allowed there.

```
# a comment, on a line of its own
totem {{
    version: 2
    cluster_name: example
}}
```

- A line is blank, a comment, `name {{`, `}}`, or `key: value`. It has at most {LINE_BYTES_MAX} bytes and ends with LF
  or CRLF.
- Space, tab and no-break space around it do not count. A `#` after a value belongs to the value, and so do quotes and
  further colons. There are no variables, includes or escapes.
- Names and words are case sensitive. The dotted path of sections and key has at most {PATH_BYTES_MAX} bytes.
- Of a key that is set twice, the last counts, unless it may be repeated. Sections of the same name are one, except:
  `totem.interface` is one for each `linknumber`, `logging.logger_subsys` one for each `subsys`, and each
  `nodelist.node` and `sam.app` is one of its own.
- An unknown option or section is a warning that names the nearest known one. It is kept in cmap under its dotted path,
  since other programs keep their settings there. `quorum.device.net`, `quorum.device.heuristics`, `resources.process`
  and `logging.logging_daemon` of other daemons belong to such programs and pass without a word.
- Relative paths start at the directory of the file. (corosync: at the directory where the daemon was started.)

## Which node is this?

1. The one with the id `totem.nodeid`, if that is set. So one list can serve several nodes on one machine.
2. The one whose address is exactly the `bindnetaddr` of the first link, if that address is on this machine.
3. corosync's rules on `name` and `ring0_addr`; the first match wins: the host name; the host name cut at its dots from
   the right; both sides cut at the first dot; the text of a local address; an address that resolves to a local one; the
   reverse name of a local address, whole and cut at its first dot; a `name` that resolves to a local address.

If none matches: `No valid name found for local host`. Several nodes with loopback addresses cannot be told apart by
the third rule, since all of 127.0.0.0/8 is local on every machine: then `totem.nodeid` is needed.

## Reload

A reload (SIGHUP, `totemctl reload`) reads the file again. If it has a mistake, nothing changes. Options marked *live*
below apply at once; for each other one that differs, `Modified entry 'KEY' in corosync.conf cannot be changed at
run-time` is logged and the old value stays. The node list stays as it was when this node's own id, addresses or links
changed.
"""

EFFECTS = {Effect.ACTIVE: "yes", Effect.LATER: "**not yet**", Effect.OBSOLETE: "none"}

NODE_COUNTS = (1, 2, 3, 5, 8, 16, 32)
"""Sizes of clusters for which the page shows the timers."""


def render() -> str:
    """The whole page."""
    return "\n".join([INTRODUCTION, *_timers(), *_sections()]) + "\n"


def _timers() -> Iterator[str]:
    yield "## Timers that follow from the number of nodes\n"
    yield "With all defaults, in milliseconds. A node that dies is out of the ring after about token + consensus.\n"
    yield "| nodes | token | token_retransmit | hold | consensus | token_warning at |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for nodes in NODE_COUNTS:
        facts: dict[str, Value] = {"nodes": nodes, "authkey_file": "", "configured_transport": "udpu"}
        _, values, _ = effective_values(TOTEM_OPTIONS, {}, facts)
        shown = [values.number(key) for key in ("token", "token_retransmit", "hold", "consensus")]
        warning = values.number("token") * values.number("token_warning") // 100
        yield _row([str(nodes), *map(str, shown), str(warning)])
    yield ""


def _sections() -> Iterator[str]:
    yield "## Options\n"
    yield "*reload*: a change applies `live`, or after a `restart`.\n"
    yield "*effect*: `not yet` is checked and kept, and `none` accepted; either is said once at start when it is set.\n"
    yield f"Limits: {NODES_MAX} nodes, {LINKS_MAX} links of a node.\n"
    for section in SECTIONS:
        if options := options_of(section.path):
            yield from _section(section, options)
    yield "## Sections without options of their own\n"
    for section in SECTIONS:
        if not options_of(section.path) and section.shape in {Shape.FOREIGN, Shape.LEFTOVER, Shape.DAEMON}:
            yield f"- `{section.path}`: {section.doc}"


def _section(section: SectionKind, options: Iterable[Option]) -> Iterator[str]:
    yield f"### {section.path}\n"
    yield f"{section.doc}\n"
    yield "| option | accepted | default | reload | effect | meaning |"
    yield "| --- | --- | --- | --- | --- | --- |"
    for option in options:
        reload = "live" if option.reload else "restart"
        effect = f"as `{option.spelling_of}`" if option.spelling_of else EFFECTS[option.effect]
        meaning = f"{option.doc} *(corosync: {option.heritage})*" if option.heritage else option.doc
        yield _row([f"`{option.key}`", option.accepts, _default(section, option), reload, effect, meaning])
    yield ""


def _default(section: SectionKind, option: Option) -> str:
    inherits = section.shape is Shape.SUBSYSTEM and option_at(f"logging.{option.key}")
    return "as in `logging`" if inherits and not option.spelling_of else option.default_text


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


if __name__ == "__main__":
    print(render(), end="")
