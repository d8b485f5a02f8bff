"""What a configuration means: merging, unknown names, sealing, logging, access, quorum; all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from totemd.executive.config.model import Configuration
from totemd.executive.config.schema import OPTIONS
from totemd.ipc.errors import ConfigurationError

Configure = Callable[..., Configuration]

NODES = "nodelist {\n node {\n ring0_addr: 192.0.2.11\n nodeid: 1\n name: alpha\n }\n}\n"


def totem(*lines: str) -> str:
    """A whole file with these lines in section totem."""
    return "\n".join(["totem {", "version: 2", *lines, "}", NODES])


def problems(configure: Configure, text: str, **more: object) -> tuple[str, ...]:
    with pytest.raises(ConfigurationError) as caught:
        configure(text, **more)
    return caught.value.problems


def test_a_configuration_survives_msgpack(configure: Configure) -> None:
    text = (
        totem("config_version: 18446744073709551615") + "logging {\n logger_subsys {\n subsys: CPG\n debug: on\n }\n}"
    )
    configuration = configure(text + "\nquorum {\n device {\n model: net\n }\n}\nfoo: bär")
    raw = msgspec.msgpack.encode(configuration)
    assert msgspec.msgpack.decode(raw, type=Configuration) == configuration


def test_all_mistakes_at_once(configure: Configure) -> None:
    text = "\n".join(
        [
            "totem {",
            "  version: 3",
            "  token: 5",
            "  crypto_cipher: 3des",
            "  secauth: maybe",
            "  interface {",
            "    mcastport: 99999",
            "  }",
            "  nonsense",
            "}",
            "nodelist {",
            "  node {",
            "    ring0_addr: 192.0.2.11",
            "    nodeid: 0",
            "  }",
            "  node {",
            "    nodeid: 2",
            "  }",
            "}",
            "uidgid {",
            "  uid: nobody-of-that-name",
            "  shell: /bin/sh",
            "}",
            "logging {",
            "  to_logfile: yes",
            "  syslog_facility: local9",
            "  logger_subsys {",
            "  }",
            "}",
            "}",
        ]
    )
    found = problems(configure, text)
    assert [int(problem.split(":")[1]) for problem in found] == [2, 3, 4, 5, 7, 9, 14, 16, 21, 22, 25, 26, 27, 30]
    assert found[0] == 'c:2: can only parse version 2 configurations, but totem.version is "3"; accepted: 2'
    assert found[1] == "c:3: The token timeout parameter (5 ms) may not be less than (30 ms)"
    assert found[2].startswith("c:4: Invalid cipher type. Should be none, aes128, aes192, aes256 or chacha20poly1305")
    assert found[3].startswith("c:5: unknown value for secauth")
    assert found[5].startswith("c:9: Line is not opening or closing section or key value")
    assert found[7].startswith("c:16: No ring0_addr specified for node")
    assert found[9].startswith("c:22: uidgid: Only uid and gid are allowed items")
    assert found[11].startswith("c:26: unknown syslog facility specified")
    assert found[12].startswith("c:27: No subsys key in logger_subsys directive")
    assert found[13].startswith("c:30: Unexpected closing brace")


@pytest.mark.parametrize("text", ["", "totem {\n}", NODES, "totem {\n cluster_name: x\n}\n" + NODES])
def test_the_version_is_required(configure: Configure, text: str) -> None:
    assert any("can only parse version 2 configurations" in problem for problem in problems(configure, text))


def test_the_last_of_two_values_counts_and_sections_merge(configure: Configure) -> None:
    configuration = configure(totem("token: 1000", "token: 2000") + "totem {\n token: 4000\n join: 60\n}")
    assert (configuration.totem.token, configuration.totem.join) == (4000, 60)
    assert configuration.cmap["totem.token"] == 4000


def test_unknown_names_are_kept_and_nearest_names_told(configure: Configure) -> None:
    text = totem("tokem: 1") + "loging {\n debug: on\n deep {\n er: x\n }\n}\ntoken: 5\nfoo: bar\n"
    configuration = configure(text)
    said = "\n".join(configuration.notices)
    assert "c:3: unknown option 'tokem' in section 'totem'; did you mean 'token'?" in said
    assert "c:12: unknown section 'loging'; did you mean 'logging'?" in said
    assert "c:18: unknown option 'token' outside of every section; 'token' belongs into section 'totem'" in said
    assert configuration.cmap["totem.tokem"] == "1"
    assert configuration.cmap["loging.deep.er"] == "x"
    assert configuration.cmap["foo"] == "bar"
    assert [problem.split(":")[1] for problem in problems(configure, text, strict=True)] == ["3", "12", "18", "19"]


def test_settings_of_other_programs_pass_without_a_word(configure: Configure) -> None:
    text = (
        totem()
        + "quorum {\n device {\n heuristics {\n mode: on\n exec_check: /bin/true\n }\n net {\n host: q\n }\n }\n}"
    )
    text += "\nlogging {\n logging_daemon {\n name: qdevice\n debug: on\n }\n}"
    configuration = configure(text, strict=True)
    assert not any("heuristics" in notice or "host" in notice for notice in configuration.notices)
    assert configuration.cmap["quorum.device.heuristics.exec_check"] == "/bin/true"
    assert configuration.cmap["logging.logging_daemon.qdevice.debug"] == "on"


def test_leftovers_of_version_1_are_mentioned_once(configure: Configure) -> None:
    text = (
        totem() + "compatibility: whitetank\naisexec {\n user: root\n}\nservice {\n name: x\n}\nservice {\n name: y\n}"
    )
    said = [notice for notice in configure(text, strict=True).notices if "1.x" in notice]
    assert said == [
        "left over from version 1.x, without effect: compatibility (c:11), aisexec {} (c:12), service {} (c:15)"
    ]


def test_cmap_holds_numbers_as_numbers_and_effective_values(configure: Configure) -> None:
    cmap = configure(totem("token: 5000", "secauth: off") + "quorum {\n two_node: 1\n}").cmap
    assert cmap["totem.version"] == 2
    assert cmap["totem.secauth"] == "off"
    assert cmap["quorum.two_node"] == 1
    assert cmap["runtime.config.totem.consensus"] == 6000
    assert cmap["nodelist.node.0.nodeid"] == 1
    assert cmap["nodelist.local_node_pos"] == 0
    assert list(cmap) == sorted(cmap)


# -- sealing


@pytest.mark.parametrize(
    ("lines", "cipher", "integrity"),
    [
        ((), "none", False),
        (("secauth: off",), "none", False),
        (("secauth: on",), "aes256", False),
        (("secauth: on", "crypto_cipher: aes128"), "aes128", False),
        (("secauth: on", "crypto_cipher: none"), "none", True),
        (("secauth: on", "crypto_cipher: none", "crypto_hash: none"), "none", False),
        (("crypto_cipher: aes256",), "aes256", False),
        (("crypto_cipher: aes256", "crypto_hash: sha1"), "aes256", False),
        (("crypto_cipher: chacha20poly1305",), "chacha20poly1305", False),
        (("crypto_hash: sha256",), "none", True),
        (("crypto_cipher: none", "crypto_hash: none"), "none", False),
    ],
)
def test_sealing(configure: Configure, lines: tuple[str, ...], cipher: str, integrity: bool) -> None:
    configuration = configure(totem(*lines))
    assert (configuration.totem.cipher, configuration.totem.integrity) == (cipher, integrity)
    assert configuration.totem.sealed is (integrity or cipher != "none")
    loud = [notice for notice in configuration.notices if "NOT ENCRYPTED" in notice or "NEITHER" in notice]
    assert bool(loud) is (cipher == "none")


def test_a_cipher_with_hash_none_is_refused(configure: Configure) -> None:
    found = problems(configure, totem("crypto_cipher: aes256", "crypto_hash: none"))
    assert found[0].startswith("c:4: crypto_cipher requires crypto_hash with value other than none")


def test_the_key_in_the_file_is_a_secret(configure: Configure) -> None:
    configuration = configure(totem("secauth: on", f"key: {'k' * 128}"))
    assert configuration.totem.key == "k" * 128
    assert not any("k" * 128 in str(value) for value in configuration.cmap.values())


@pytest.mark.parametrize(("length", "what"), [(127, "short"), (0, "short")])
def test_the_key_in_the_file_has_bounds(configure: Configure, length: int, what: str) -> None:
    assert f"key is too {what}" in problems(configure, totem(f"key: {'k' * length}"))[0]


def test_paths_start_at_the_directory_of_the_file(configure: Configure) -> None:
    assert configure(totem("keyfile: keys/one")).totem.keyfile == "/etc/corosync/keys/one"
    assert configure(totem("keyfile: /else/where")).totem.keyfile == "/else/where"
    assert configure(totem()).totem.keyfile == "/etc/corosync/authkey"
    assert configure(totem() + "system {\n state_dir: state\n}").system.state_dir == "/etc/corosync/state"
    assert configure(totem()).system.state_dir == "/state"


# -- transport and timers


@pytest.mark.parametrize(
    ("transport", "said"),
    [
        ("knet", "transport knet is run over udpu"),
        ("udp", "multicast transport has no effect yet; nodes are reached by unicast"),
    ],
)
def test_other_transports_are_mapped_with_a_notice(configure: Configure, transport: str, said: str) -> None:
    configuration = configure(totem(f"transport: {transport}"))
    assert configuration.totem.transport == "udpu"
    assert configuration.cmap["totem.transport"] == transport
    assert any(said in notice for notice in configuration.notices)


def test_multicast_without_a_nodelist_is_an_error(configure: Configure) -> None:
    text = "totem {\n version: 2\n transport: udp\n interface {\n bindnetaddr: 192.0.2.0\n mcastaddr: 239.1.1.1\n }\n}"
    assert "accepted: a nodelist" in problems(configure, text)[0]


def test_a_heartbeat_that_cannot_help_is_off_with_a_notice(configure: Configure) -> None:
    assert not any("heartbeat" in notice for notice in configure(totem("heartbeat_failures_allowed: 2")).notices)
    assert any("heartbeat is off" in notice for notice in configure(totem("heartbeat_failures_allowed: 5")).notices)


def test_consensus_and_join(configure: Configure) -> None:
    found = problems(configure, totem("join: 100", "consensus: 90"))
    assert found == ("c:4: The consensus timeout parameter (90 ms) may not be less than join timeout (100 ms)",)
    assert any("shorter than the effective token" in notice for notice in configure(totem("consensus: 2000")).notices)


# -- logging


def test_subsystems_inherit_and_override(configure: Configure) -> None:
    text = totem() + "\n".join(
        [
            "logging {",
            "  logfile: l.log",
            "  to_logfile: yes",
            "  logger_subsys {",
            "    subsys: totem",
            "    debug: on",
            "  }",
            "  logger_subsys {",
            "    debug: trace",
            "    subsys: TOTEM",
            "  }",
            "  logging_daemon {",
            "    name: corosync",
            "    subsys: CPG",
            "    logfile_priority: debug",
            "  }",
            "  logging_daemon {",
            "    name: corosync",
            "    fileline: on",
            "  }",
            "}",
        ]
    )
    logging = configure(text).logging
    assert logging.logfile == "/etc/corosync/l.log"
    assert logging.fileline
    assert [override.subsys for override in logging.subsystems] == ["CPG", "TOTEM"]
    assert logging.effective_for("totem").debug == "trace"
    assert logging.effective_for("CPG").logfile_priority == "debug"
    assert logging.effective_for("CPG").debug == "off"
    assert logging.effective_for("MAIN") == logging


def test_a_log_file_needs_a_name(configure: Configure) -> None:
    lone = totem() + "logging {\n to_logfile: yes\n}"
    assert "to_logfile is on, but no log file is named" in problems(configure, lone)[0]
    sub = totem() + "logging {\n logger_subsys {\n subsys: CPG\n to_logfile: yes\n }\n}"
    assert "to_logfile is on, but no log file is named" in problems(configure, sub)[0]
    named = totem() + "logging {\n logfile: /l\n logger_subsys {\n subsys: CPG\n to_logfile: yes\n }\n}"
    assert configure(named).logging.effective_for("CPG").to_logfile


def test_older_spellings(configure: Configure) -> None:
    configuration = configure(totem() + "logging {\n to_file: yes\n logfile: /l\n syslog_level: crit\n}")
    assert configuration.logging.to_logfile
    assert configuration.logging.syslog_priority == "crit"
    assert any("'to_file' is an older spelling of 'to_logfile'" in notice for notice in configuration.notices)


# -- access


def test_access(configure: Configure) -> None:
    text = totem() + "uidgid {\n uid: hacluster\n uid: 7\n gid: haclient\n}\nuidgid {\n uid: 5\n}"
    configuration = configure(text, drop_ins=("uidgid {\n gid: 12\n}", "# empty\n"))
    assert configuration.access.uids == (5, 7, 189)
    assert configuration.access.gids == (12, 189)
    assert configuration.cmap["uidgid.config.uid.189"] == 1
    assert configuration.sources == ("c", "uidgid.d/0", "uidgid.d/1")
    allow = configuration.access.allow
    assert allow(0, 99) and allow(99, 0) and allow(7, 99) and allow(99, 12)
    assert not allow(99, 99)


@pytest.mark.parametrize("text", ["uid: 4294967295", "gid: -1", "uid:", "gid: nosuchgroup"])
def test_access_that_cannot_be(configure: Configure, text: str) -> None:
    assert problems(configure, totem() + "uidgid {\n" + text + "\n}")[0].startswith("c:12: ")


def test_drop_ins_hold_nothing_else(configure: Configure) -> None:
    found = problems(configure, totem(), drop_ins=("totem {\n token: 1\n}\nx: y\n", "uidgid {\n a {\n }\n}"))
    assert found == (
        "uidgid.d/0:1: uidgid: Can't add subsection different than uidgid: 'totem'",
        "uidgid.d/0:4: uidgid: only uidgid sections are allowed in this file, not 'x'",
        "uidgid.d/1:2: Subsections are not allowed within uidgid section: 'a'",
    )


# -- quorum


def test_votes(configure: Configure) -> None:
    nodes = NODES.replace("name: alpha\n", "quorum_votes: 3\n") + NODES.replace("11", "12").replace(
        "nodeid: 1", "nodeid: 2"
    )
    text = "totem {\n version: 2\n}\n" + nodes + "quorum {\n provider: corosync_votequorum\n votes: 2\n two_node: 1\n}"
    quorum = configure(text).quorum
    assert [node.votes for node in configure(text).nodes] == [3, 2]
    assert quorum.expected_votes == 5
    assert quorum.wait_for_all
    assert not configure(text.replace("two_node: 1", "two_node: 1\n wait_for_all: 0")).quorum.wait_for_all
    assert configure(text.replace("votes: 2", "expected_votes: 9")).quorum.expected_votes == 9


@pytest.mark.parametrize("key", ["two_node", "last_man_standing", "auto_tie_breaker", "allow_downscale"])
def test_what_a_quorum_device_excludes(configure: Configure, key: str) -> None:
    text = (
        totem() + f"quorum {{\n provider: corosync_votequorum\n {key}: 1\n device {{\n model: net\n votes: 1\n }}\n}}"
    )
    assert any(problem.startswith("c:13: ") and "device" in problem for problem in problems(configure, text))


def test_a_tie_breaker_for_the_last_man_of_an_odd_cluster_needs_wait_for_all(configure: Configure) -> None:
    options = "provider: corosync_votequorum\n expected_votes: 5\n auto_tie_breaker: 1\n last_man_standing: 1"
    text = totem() + f"quorum {{\n {options}\n}}"
    assert "even number of votes, or wait_for_all; there are 5" in problems(configure, text)[0]
    assert configure(text.replace("last_man", "wait_for_all: 1\n last_man")).quorum.last_man_standing


def test_a_node_without_node_list_has_the_votes_of_the_quorum_section(configure: Configure) -> None:
    lone = "totem {\n version: 2\n nodeid: 1\n interface {\n bindnetaddr: 192.0.2.11\n }\n}\n"
    text = lone + "quorum {\n provider: corosync_votequorum\n votes: 3\n expected_votes: 5\n}"
    assert configure(text).local_node.votes == 3


def test_a_quorum_needs_somebody_to_count(configure: Configure) -> None:
    lone = "totem {\n version: 2\n nodeid: 1\n interface {\n bindnetaddr: 192.0.2.11\n }\n}\n"
    quorum = "quorum {\n provider: corosync_votequorum\n}"
    assert "nodelist or quorum.expected_votes must be configured!" in problems(configure, lone + quorum)[0]
    assert configure(lone + quorum.replace("\n}", "\n expected_votes: 3\n}")).quorum.expected_votes == 3


# -- any text at all


def _survives(configure: Configure, text: str) -> None:
    try:
        configuration = configure(text)
    except ConfigurationError as error:
        assert error.problems
        assert all(":" in problem for problem in error.problems)
    else:
        raw = msgspec.msgpack.encode(configuration)
        assert msgspec.msgpack.decode(raw, type=Configuration) == configuration


PATHS = [option.path.rpartition(".") for option in OPTIONS]
LINES = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["}", "totem {", "nodelist {", "node {", "interface {", "logging {", "quorum {", "device {"]),
    st.builds(
        lambda path, value: f"{path[2]}: {value}",
        st.sampled_from(PATHS),
        st.one_of(
            st.integers(-1, 2**33).map(str),
            st.sampled_from(["yes", "no", "on", "udp", "192.0.2.11", "::1", "239.1.1.1", "aes256", "0", "2"]),
            st.text(max_size=10),
        ),
    ),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.text())
def test_any_text_is_read_or_refused(configure: Configure, text: str) -> None:
    _survives(configure, text)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(st.lists(LINES, max_size=30))
def test_any_lines_are_read_or_refused(configure: Configure, lines: list[str]) -> None:
    _survives(configure, totem(*lines))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=200)
@given(
    st.lists(
        st.tuples(st.sampled_from(PATHS), st.one_of(st.integers(-1, 2**64).map(str), st.text(max_size=8))), max_size=12
    )
)
def test_any_values_are_read_or_refused(configure: Configure, values: list[tuple[tuple[str, str, str], str]]) -> None:
    """Well-formed sections with anything as values."""
    text = totem()
    for (section, _, key), value in values:
        names = section.split(".")
        inside = value.replace("\n", " ").replace("{", " ")
        text += "".join(f"{name} {{\n" for name in names) + f"{key}: {inside}\n" + "}\n" * len(names)
    _survives(configure, text)
