"""A scenario is read strictly: what cannot be, or means nothing, is refused where it stands, before anything is run."""

from __future__ import annotations

from pathlib import Path

import pytest
from simcluster.cli import main
from simcluster.fault_plan import plan
from simcluster.faults import Crash, Partition, PlannedFault
from simcluster.faults_local import ForgeReports
from simcluster.options import PROFILES, derive
from simcluster.scenario import Request, Scenario, Script, plain
from simcluster.scenario_rules import EVENTS, PACKETS, fault_problem
from simcluster.scenario_text import ScenarioError, parse, text
from simcluster.shrink_parts import without_node

BEGINNING = "nodes 3\nseconds 1\n"
GROUPS = "run exchange=cpg groups clients=2"


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("at 0.5 Crash(nodes=(0,), downtimes=(0.1,))", "Crash: nodes: 0 is not from 1 to 3"),
        ("at 0.5 Crash(nodes=(9,), downtimes=(0.1,))", "Crash: nodes: 9 is not from 1 to 3"),
        ("at 0.5 Crash(nodes=(1, 2), downtimes=(0.1,))", "Crash: nodes are one or more, none twice, and have a"),
        ("at 0.5 Crash(nodes=(1, 1), downtimes=(0.1, 0.1))", "Crash: nodes are one or more, none twice"),
        ("at 0.5 Crash(nodes=(), downtimes=())", "Crash: nodes are one or more"),
        ("at 0.5 Crash(nodes=(1,), downtimes=(-5.0,))", "Crash: downtimes: -5.0 is not from 0.0 to 600.0"),
        ("at 0.5 Crash(nodes=(1,), downtimes=(inf,))", "Crash: downtimes: inf is not from 0.0 to 600.0"),
        ("at 0.5 Crash(nodes=(1,), nodes=(2,), downtimes=(0.1,))", "Crash: nodes is given twice"),
        ("at 0.5 Pause(node=7, seconds=0.1)", "Pause: node: 7 is not from 1 to 3"),
        ("at 0.5 Trap(node=1, event='nonsense', skip=0, fault=Heal())", "Trap: event: 'nonsense' is not one of oper"),
        ("at 0.5 Trap(node=1, event='gather', skip=0, fault=Pause(node=4, seconds=0.1))", "Pause: node: 4 is not"),
        ("at 0.5 Lossy(types=('Tokn',), links=(), share=1.0, seconds=0.1)", "Lossy: types: 'Tokn' is not one of Mcast"),
        ("at 0.5 Lossy(types=(), links=(), share=1.5, seconds=0.1)", "Lossy: share: 1.5 is not from 0.0 to 1.0"),
        ("at 0.5 Lossy(types=(), links=((1, 4),), share=1.0, seconds=0.1)", "Lossy: links: 4 is not from 1 to 3"),
        ("at 0.5 CutLinks(links=((2, 2),))", "CutLinks: links: nothing goes over a link from 2 to itself"),
        ("at 0.5 CutLinks(links=())", "CutLinks: an empty tuple means that nothing happens"),
        ("at 0.5 Slow(types=('Token',), links=(), lag=0.1, seconds=0.1)", "Slow: an empty tuple means that nothing"),
        ("at 0.5 Partition(groups=((1, 2), (2, 3)))", "Partition: a node is in one of the groups at most"),
        ("at 0.5 Several(faults=())", "Several: an empty tuple means that nothing happens"),
        ("at 0.5 Several(faults=(Heal(), Wipe(node=4, downtime=0.1)))", "Wipe: node: 4 is not from 1 to 3"),
        ("at 0.5 ForgeReports(at=1, about=1, count=1)", "ForgeReports: nobody is told of itself"),
        ("at 0.5 Reload(node=1, factor=0.0, heartbeat=0.0)", "Reload: factor: 0.0 is not from 0.01 to 100.0"),
        ("at 0.5 submit node=1 bytes=99999999 safe", "99999999 bytes; a submission has 2097152 at most"),
        ("at 0.5 Heal(" + 300 * "(", "too many nested parentheses|nested too deeply"),
        ("at 0.5 " + 40_000 * "-" + "1", "nested too deeply|recursion|…': "),
        ("run wire=nonsense", "wire: nonsense is not one of objects, codec, sealed, unsealed"),
        ("run exchange=later", "exchange: later is not one of agreed, safe, none, cpg"),
        ("run exchange=cpg", "run exchange=cpg and a 'groups' line go together"),
        ("groups clients=2", "run exchange=cpg and a 'groups' line go together"),
        ("run service_delay=-1", "service_delay: -1.0 is not from 0.0 to 600.0"),
        ("run service_delay=1e999", "service_delay: inf is not from 0.0 to 600.0"),
        ("run stormy=yes stormy=no", "run stormy is given twice"),
        ("ring node_id=5", "ring has no 'node_id'; it has token, "),
        ("ring window_size=0", "window_size: 0 is not from 1 to 1000000"),
        ("ring token=-1", "token: -1.0 is not from 0.01 to 600.0"),
        ("ring token=" + 40_000 * "-" + "1", "is not of the kind of 0.4"),
        ("weather latency=0", "latency: 0.0 is not from 1e-05 to 600.0"),
        ("weather loss=1.5", "loss: 1.5 is not from 0.0 to 1.0"),
        ("load senders=some", "senders: some is not one of all, one, none"),
        ("mutant nosuch", "no mutant is called 'nosuch'; there are "),
    ],
)
def test_what_cannot_be_is_refused_with_its_place(line: str, complaint: str) -> None:
    with pytest.raises(ScenarioError, match=complaint) as refusal:
        parse(f"{BEGINNING}{line}\n# the end\n", "some/file.txt")
    assert str(refusal.value).startswith("some/file.txt:3: ")


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        ("nodes 99999999\nseconds 1", ":1: '99999999' is not a number of nodes from 1 to 64"),
        ("nodes 0\nseconds 1", ":1: '0' is not a number of nodes from 1 to 64"),
        ("nodes 3\nseconds inf\n# the end", ":2: 'inf' is not a number of seconds from 0.0 to 600.0"),
        ("nodes 3\nseconds nan", ":2: 'nan' is not a number of seconds"),
        ("nodes 3\nseconds 1\nseed -1\n# the end", ":3: '-1' is not a seed"),
        ("at 0.5 Pause(node=3, seconds=0.1)\nnodes 2\nseconds 1", ":1: Pause: node: 3 is not from 1 to 2"),
        (f"{BEGINNING}run exchange=cpg\ngroups clients=2\nat 0.5 KillClient(node=1, client=2, downtime=0.1)",
         ":5: KillClient: client: 2 is not from 0 to 1"),
    ],
)  # fmt: skip
def test_rules_hold_in_whatever_order_the_lines_come(lines: str, complaint: str) -> None:
    with pytest.raises(ScenarioError) as refusal:
        parse(f"{lines}\n", "file")
    assert str(refusal.value).startswith(f"file{complaint}")


def test_a_file_of_bytes_is_an_error_in_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "binary"
    path.write_bytes(b"nodes 3\n\xff\xfe")
    assert main(["--scenario", str(path)]) == 2
    assert capsys.readouterr().out.startswith(f"{path}:2: bytes that are no text")


@pytest.mark.parametrize("profile", PROFILES)
def test_the_rules_refuse_nothing_that_chance_draws(profile: str) -> None:
    for seed in range(10):
        options = derive(seed, profile)
        scenario = Scenario(Script(options, plan(options), ()))
        assert len(parse(text(scenario)).script.faults) == len(scenario.script.faults)


def test_names_are_those_of_the_ring() -> None:
    """Faults are kept by name: one that is gone would make a fault that never happens."""
    assert {"Token", "CommitToken", "Join", "Mcast", "MergeDetect", "HoldCancel", "Control"} <= set(PACKETS)
    assert {"gather", "commit", "recovery", "operational", "Persist", "Persisting", "Originated"} <= set(EVENTS)


def test_what_is_made_shorter_can_still_be_read() -> None:
    """A node is taken out of everything that names nodes."""
    faults = (
        ForgeReports(1, 3, 2),
        ForgeReports(2, 3, 2),
        Partition(((2,),)),
        Crash((2, 3), (0.1, 0.1)),
    )
    options = plain(0, 3)
    planned = tuple(PlannedFault(index, 0.5, fault) for index, fault in enumerate(faults))
    less = without_node(Script(options, planned, (Request(0.5, 3, 1, True),)), 2)
    assert [each.fault for each in less.faults] == [ForgeReports(1, 2, 2), Crash((2,), (0.1,))]
    assert not any(fault_problem(each.fault, less.options) for each in less.faults)
