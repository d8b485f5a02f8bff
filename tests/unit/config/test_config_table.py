"""The option table: every row's default and bounds, the formulas, and the table's own order."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from totemd.executive.config import model
from totemd.executive.config.kinds import Choice, Flag, HostAddress, Integer, NiceValue, Switch, Value
from totemd.executive.config.model import Configuration
from totemd.executive.config.options import Derived, Effect, Option, effective_values
from totemd.executive.config.options_totem import TOTEM_OPTIONS
from totemd.executive.config.schema import OPTIONS, RELATIONS, SECTIONS, Shape, option_at, options_of, section_at
from totemd.ipc.errors import ConfigurationError

Configure = Callable[..., Configuration]

BASE = "totem {\n version: 2\n}\nnodelist {\n node {\n ring0_addr: 192.0.2.11\n nodeid: 1\n }\n}\n"

STRUCTS = {
    "totem": model.TotemOptions,
    "totem.interface": model.InterfaceOptions,
    "nodelist.node": model.NodeEntry,
    "logging": model.LoggingOptions,
    "logging.logger_subsys": model.SubsystemLogging,
    "quorum": model.QuorumOptions,
    "quorum.device": model.QuorumDevice,
    "system": model.SystemOptions,
}

INTEGERS = [option for option in OPTIONS if isinstance(option.kind, Integer)]
NOT_ALONE = {"nodelist.node.nodeid", "totem.nodeid", "totem.interface.linknumber", "totem.interface.ringnumber"}
"""Options whose value decides which section or node this is; tested with the nodes."""


LOWEST = {"totem.token": 126, "totem.consensus": 50}
"""Where more than the option's own bound counts: the timers that follow from it, the default of join."""

HIGHEST = {"totem.join": 3600, "totem.token_retransmits_before_loss_const": 99}
"""Likewise: the default of consensus, the retransmit timer."""

MAKES_DEMANDS = {("totem.ip_version", "ipv6")}
"""Words that the rest of the test's file does not fit: its node has an IPv4 address."""

EXAMPLES = {
    "totem.interface.mcastaddr": "239.1.2.3",
    "totem.interface.broadcast": "no",
    "totem.interface.member.memberaddr": "192.0.2.1",
    "quorum.auto_tie_breaker_node": "lowest",
}


def example(option: Option) -> object:
    """A value that the option accepts, and that needs no other option."""
    if option.path in EXAMPLES:
        return EXAMPLES[option.path]
    match option.kind:
        case Integer(low=low):
            return low if option.at_least is None else option.at_least
        case Choice(words=words):
            return words[0]
        case Switch():
            return "no"
        case Flag():
            return 0
        case HostAddress():
            return "192.0.2.77"
        case NiceValue():
            return "max"
        case _:
            return 1


def text_with(option: Option, value: object) -> str:
    """A file that sets one option, in whatever sections it stands."""
    *sections, key = option.path.split(".")
    if option.section == "nodelist.node":
        return BASE.replace("nodeid: 1\n", f"nodeid: 1\n {key}: {value}\n")
    extra = "subsys: CPG\n" if option.section == "logging.logger_subsys" else ""
    extra += "model: net\n" if option.section == "quorum.device" else ""
    extra += "name: a\ncommand: x\n" if option.section == "sam.app" else ""
    opening = "".join(f"{name} {{\n" for name in sections)
    return BASE + opening + extra + f"{key}: {value}\n" + "}\n" * len(sections)


def accepted(configure: Configure, option: Option, value: object) -> bool:
    try:
        configure(text_with(option, value))
    except ConfigurationError as error:
        assert all(problem.startswith("c:") for problem in error.problems)
        return False
    return True


def test_paths_are_unique_and_lie_in_known_sections() -> None:
    paths = [option.path for option in OPTIONS]
    assert len(set(paths)) == len(paths)
    assert {option.section for option in OPTIONS} <= {section.path for section in SECTIONS}


def test_every_row_explains_itself() -> None:
    for option in OPTIONS:
        assert option.doc.endswith((".", "…")), option.path
        assert option.accepts and option.default_text, option.path


@pytest.mark.parametrize("section", STRUCTS)
def test_rows_and_struct_agree(section: str) -> None:
    """Every row's field exists, and every field of the struct comes from a row or is computed."""
    fields = set(STRUCTS[section].__struct_fields__)
    computed = {
        "totem": {"version", "token_configured", "integrity"},
        "totem.interface": {"bind_address", "mcast_address"},
        "nodelist.node": {"addresses"},
        "logging": {"subsystems"},
        "quorum": {"device"},
    }.get(section, set())
    assert {option.model_field for option in options_of(section) if option.model_field} == fields - computed


@pytest.mark.parametrize("section", ["totem", "logging", "quorum", "system"])
def test_defaults_of_table_and_struct_agree(section: str, configure: Configure) -> None:
    """Any struct that a test builds has the values that an empty section leads to."""
    configuration = configure(BASE)
    made = getattr(configuration, section)
    default = STRUCTS[section]()
    if section == "system":
        made = msgspec.structs.replace(made, state_dir=default.state_dir)
    assert made == default


def test_formulas_use_earlier_rows_and_spellings_known_ones() -> None:
    for option in OPTIONS:
        earlier = [row.key for row in options_of(option.section)]
        earlier = earlier[: earlier.index(option.key) + (option.effective is not None)]
        if isinstance(option.default, Derived):
            assert set(option.default.inputs) <= set(earlier), option.path
        assert not option.spelling_of or option_at(f"{option.section}.{option.spelling_of}"), option.path


def test_relations_speak_of_known_options() -> None:
    for relation in RELATIONS:
        assert all(option_at(f"{relation.section}.{key}") for key in relation.keys)


ESSENTIAL = (
    *("totem.token", "totem.consensus", "totem.transport", "totem.cluster_name", "totem.crypto_cipher"),
    *("totem.crypto_hash", "totem.interface.mcastport", "nodelist.node.ring0_addr", "nodelist.node.nodeid"),
    *("nodelist.node.name", "nodelist.node.quorum_votes", "quorum.provider", "quorum.two_node", "quorum.device.model"),
    *("logging.to_logfile", "logging.logger_subsys.debug", "uidgid.uid", "system.sched_rr"),
)


def test_essential_options_are_known() -> None:
    for path in ESSENTIAL:
        assert option_at(path), path
    assert section_at("quorum.device.heuristics") and section_at("quorum.device.heuristics").shape is Shape.FOREIGN


@pytest.mark.parametrize("option", [o for o in INTEGERS if o.path not in NOT_ALONE], ids=lambda o: o.path)
def test_bounds_of_integers(option: Option, configure: Configure) -> None:
    assert isinstance(option.kind, Integer)
    low = option.kind.low if option.at_least is None else option.at_least
    for value in (option.kind.low - 1, option.kind.high + 1, "x", "", "1.5", "0x10", "+1", "yes", "9" * 30):
        assert not accepted(configure, option, value), value
    assert accepted(configure, option, 0) is (option.zero_is_default or low <= 0 <= option.kind.high)
    if low > max(option.kind.low, 1):
        assert not accepted(configure, option, low - 1)
    assert accepted(configure, option, LOWEST.get(option.path, low))
    assert accepted(configure, option, HIGHEST.get(option.path, option.kind.high))


def test_the_message_of_a_bad_integer_is_corosyncs(configure: Configure) -> None:
    with pytest.raises(ConfigurationError) as caught:
        configure(text_with(option_at("quorum.two_node"), "yes"))  # type: ignore[arg-type]
    assert caught.value.problems == (
        'c:11: Value of key "quorum.two_node" is expected to be integer in range (0..1), but "yes" was given',
    )


@pytest.mark.parametrize("option", [o for o in OPTIONS if isinstance(o.kind, Choice)], ids=lambda o: o.path)
def test_words(option: Option, configure: Configure) -> None:
    assert isinstance(option.kind, Choice)
    assert not accepted(configure, option, option.kind.words[0].upper())
    assert not accepted(configure, option, "nonsense")
    for word in option.kind.words:
        assert accepted(configure, option, word) is ((option.path, word) not in MAKES_DEMANDS), word


@pytest.mark.parametrize("option", [o for o in OPTIONS if isinstance(o.kind, Switch)], ids=lambda o: o.path)
def test_switches(option: Option, configure: Configure) -> None:
    needs_file = "to_logfile" in {option.key, option.spelling_of}
    for word in ("yes", "on"):
        assert accepted(configure, option, word) is not needs_file
    for word in ("no", "off"):
        assert accepted(configure, option, word)
    for word in ("maybe", "1", "Yes", ""):
        assert not accepted(configure, option, word)


@pytest.mark.parametrize("option", [o for o in OPTIONS if isinstance(o.kind, Flag)], ids=lambda o: o.path)
def test_flags(option: Option, configure: Configure) -> None:
    assert accepted(configure, option, 0)
    assert not accepted(configure, option, 2)


@pytest.mark.parametrize("option", [o for o in OPTIONS if o.effect is not Effect.ACTIVE], ids=lambda o: o.path)
def test_what_has_no_effect_is_said_once(option: Option, configure: Configure) -> None:
    text = text_with(option, example(option)).replace("nodeid: 1\n", "nodeid: 1\n name: n\n")
    if option.spelling_of:
        wanted = "is an older spelling of"
    else:
        wanted = "known but without effect yet" if option.effect is Effect.LATER else "obsolete, accepted and without"
    said = [notice for notice in configure(text).notices if wanted in notice]
    assert len(said) == 1
    assert f"'{option.key}'" in said[0] or f"{option.path} (c:" in said[0]


DERIVED = [
    # token configured, coefficient, nodes -> effective token, retransmit, hold, consensus
    (1000, 650, 2, 1000, 238, 180, 1200),
    (1000, 650, 3, 1650, 392, 303, 1980),
    (1000, 650, 5, 2950, 702, 551, 3540),
    (1000, 650, 8, 4900, 1166, 922, 5880),
    (1000, 650, 16, 10100, 2404, 1913, 12120),
    (1000, 650, 32, 20500, 4880, 3894, 24600),
    (None, None, 1, 3000, 714, 561, 3600),
    (None, None, 2, 3000, 714, 561, 3600),
    (None, None, 3, 3650, 869, 685, 4380),
    (None, None, 5, 4950, 1178, 932, 5940),
    (None, None, 8, 6900, 1642, 1303, 8280),
    (None, None, 16, 12100, 2880, 2294, 14520),
    (None, None, 32, 22500, 5357, 4275, 27000),
    (3000, 0, 32, 3000, 714, 561, 3600),
    (0, 650, 2, 3000, 714, 561, 3600),
]


@pytest.mark.parametrize(("token", "coefficient", "nodes", "effective", "retransmit", "hold", "consensus"), DERIVED)
def test_derived_timers(  # noqa: PLR0917
    token: int | None, coefficient: int | None, nodes: int, effective: int, retransmit: int, hold: int, consensus: int
) -> None:
    """The figures of corosync 2.4.3 and 3.1.7."""
    given: dict[str, Value] = {}
    if token is not None and coefficient is not None:
        given = {"token": token, "token_coefficient": coefficient}
    facts: dict[str, Value] = {"nodes": nodes, "authkey_file": "", "configured_transport": "udpu"}
    configured, values, wrong = effective_values(TOTEM_OPTIONS, given, facts)
    assert wrong == ()
    assert configured["token"] == (token or 3000)
    found = [values[key] for key in ("token", "token_retransmit", "hold", "consensus")]
    assert found == [effective, retransmit, hold, consensus]


def test_the_smallest_token(configure: Configure) -> None:
    """About 130 ms: the derived retransmit timer must reach 30 ms."""
    token = option_at("totem.token")
    assert token is not None
    assert accepted(configure, token, 126)
    with pytest.raises(ConfigurationError, match="Not appropriate token or token_retransmits_before_loss_const"):
        configure(text_with(token, 125))


def test_one_cause_is_one_problem(configure: Configure) -> None:
    """A token that is too short also makes the timers that follow from it too short; only the cause is reported."""
    with pytest.raises(ConfigurationError) as caught:
        configure(text_with(option_at("totem.token"), 5))  # type: ignore[arg-type]
    assert caught.value.problems == ("c:11: The token timeout parameter (5 ms) may not be less than (30 ms)",)
