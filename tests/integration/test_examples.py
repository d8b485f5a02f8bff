"""The examples do what they say.  `make demo` runs examples/demo.py by itself."""

from __future__ import annotations

import shutil
import subprocess
import sys
import textwrap
from contextlib import ExitStack
from pathlib import Path

import msgpack
import pytest
import totemd
import zmq
from kit.command import SAM_RUN, environment, run
from totemd import replica
from totemd.testing import Cluster, Node

NODE_PACKAGES = ("zeromq", "@msgpack/msgpack")
NPM_SECONDS = 120

HERE = Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"


class Program:
    """An example on a node, with its keyboard and its screen."""

    def __init__(self, name: str, cluster: Cluster, node_id: int, *options: str, node_path: str = "") -> None:
        interpreter = [sys.executable] if name.endswith(".py") else ["node"]
        command = [*interpreter, str(EXAMPLES / name), *options]
        variables = environment(
            COROSYNC_RUN_DIR=str(cluster[node_id].run_dir), PYTHONUNBUFFERED="1", NODE_PATH=node_path
        )
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=variables
        )

    def type(self, line: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")

    def expect(self, text: str) -> str:
        """Read lines until one holds *text*."""
        assert self._process.stdout is not None
        seen = []
        while text not in (line := self._process.stdout.readline()):
            assert line, f"it ended without saying {text!r}; it said {seen}"
            seen.append(line)
        return line

    def close(self) -> int:
        """End of input; the exit code."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        return self._process.wait(timeout=20)

    def kill(self) -> None:
        with self._process:
            self._process.kill()


def start(
    programs: ExitStack, name: str, cluster: Cluster, node_id: int, *options: str, node_path: str = ""
) -> Program:
    program = Program(name, cluster, node_id, *options, node_path=node_path)
    programs.callback(program.kill)
    return program


def test_chat(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "chat.py", trio, 1)
    one.expect("1 here")
    two = start(programs, "chat.py", trio, 2)
    one.expect("2 here")
    two.type("hello over there")
    assert one.expect("hello over there").startswith("2/")
    assert two.expect("hello over there").startswith("2/")
    assert two.close() == 0
    one.expect("1 here")


def test_counter(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "counter.py", trio, 1, "--add", "5")
    one.expect("= 5")
    two = start(programs, "counter.py", trio, 2)
    two.expect("have the state: 5")
    three = start(programs, "counter.py", trio, 3, "--add", "-7")
    for program in (one, two, three):
        program.expect("= -2")


@pytest.fixture(scope="module")
def node_modules(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Where Node.js finds what the member in JavaScript needs."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js (node, npm) on this machine")
    folder = tmp_path_factory.mktemp("npm")
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", "--prefix", str(folder), *NODE_PACKAGES]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_SECONDS, check=False)
        load = "; ".join(f"require('{name}')" for name in NODE_PACKAGES)
        path = str(folder / "node_modules")
        loads = subprocess.run(["node", "-e", load], env=environment(NODE_PATH=path), capture_output=True, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm could not install {', '.join(NODE_PACKAGES)} within {NPM_SECONDS} s")
    if loads.returncode:
        pytest.skip(f"npm could not install {', '.join(NODE_PACKAGES)}: {done.stderr.strip()[-200:]}")
    return path


def send_what_does_not_add_up(node: Node, group: bytes) -> None:
    """As a member: a batch whose first message is "bye", and whose second ends before its length says."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
        dealer.linger = 1_000
        dealer.connect(f"ipc://{node.run_dir}/cpg.sock")
        dealer.send(msgpack.packb({"type": "hello", "role": "client", "protocol": [1, 0]}))
        dealer.send(msgpack.packb({"type": "join", "group": group}))
        batch = b"\3\0\0\0bye\2\0\0\0x"
        dealer.send_multipart([msgpack.packb({"type": "mcast", "group": group, "count": 2}), batch])
        while dealer.poll(20_000):
            control, *payload = dealer.recv_multipart()
            if msgpack.unpackb(control)["type"] == "messages":
                assert payload == [batch]
                break
        else:
            raise AssertionError("it did not come back")
        dealer.send(msgpack.packb({"type": "goodbye"}))


def talk_with_a_plain_member(cluster: Cluster, programs: ExitStack, name: str, node_path: str = "") -> None:
    run_dir = str(cluster[2].run_dir)
    with cluster[1].client() as client, client.join("plain") as group:
        plain = start(programs, name, cluster, 2, run_dir, "plain", "hello from outside", node_path=node_path)
        while not (isinstance(event := group.receive(timeout=30), totemd.Message)):
            pass
        assert (event.sender.node_id, bytes(event.payload)) == (2, b"hello from outside")
        plain.expect("node 2: hello from outside")
        send_what_does_not_add_up(cluster[3], b"plain")
        group.mcast_many([b"first", b"second", b"bye"])
        assert plain.expect("node") == "node 1: first\n"
        plain.expect("node 1: bye")
        assert plain.close() == 0
        gone = totemd.Member(2, event.sender.pid, totemd.Reason.PROCESS_DOWN)
        while not (isinstance(event, totemd.ConfigChange) and gone in event.left):
            event = group.receive(timeout=30)


def test_a_member_without_our_package(trio: Cluster, programs: ExitStack) -> None:
    talk_with_a_plain_member(trio, programs, "plain_member.py")


def test_a_member_in_javascript(trio: Cluster, programs: ExitStack, node_modules: str) -> None:
    talk_with_a_plain_member(trio, programs, "plain_member.cjs", node_modules)


def test_an_application_in_javascript_under_sam_run(tmp_path: Path, node_modules: str, programs: ExitStack) -> None:
    """No node is needed."""
    options = ["--run-dir", str(tmp_path), "--interval", "1000", "--backoff", "0"]
    sam_run = subprocess.Popen(
        [*SAM_RUN, *options, "--", "node", str(EXAMPLES / "sam_plain.cjs")],
        env=environment(NODE_PATH=node_modules),
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
    )
    programs.callback(sam_run.communicate, timeout=60)
    programs.callback(sam_run.terminate)
    assert sam_run.stdout is not None
    assert sam_run.stdout.readline() == "instance 1\n"
    (tmp_path / "sick").touch()
    assert sam_run.stdout.readline() == "instance 2\n"


def test_all_that_an_application_in_javascript_can_say(tmp_path: Path, node_modules: str) -> None:
    """Its first instance falls silent, the second finds what it has left."""
    options = ["--run-dir", str(tmp_path), "--interval", "1000", "--backoff", "0"]
    done = run(
        [*SAM_RUN, *options, "--", "node", str(HERE / "kit" / "sam_story.cjs")],
        env=environment(NODE_PATH=node_modules),
        timeout=60,
    )
    said = ["instance 1", "restored: ", "instance 2", "restored: left by 1"]
    assert (done.returncode, done.stdout.splitlines()) == (0, said), done.stderr


@pytest.mark.parametrize(
    ("name", "lines"), [("chat.py", 40), ("plain_member.py", 39), ("plain_member.cjs", 39), ("sam_plain.cjs", 20)]
)
def test_examples_are_as_short_as_promised(name: str, lines: int) -> None:
    assert len((EXAMPLES / name).read_text().splitlines()) <= lines


def shown(text: str) -> str:
    """The first example of a docstring or a page."""
    return textwrap.dedent(text.split("```")[1].removeprefix("python"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        pytest.param(replica.__doc__, "1\n", id="replica"),
        pytest.param(replica.ReplicatedDict.__doc__, "", id="dictionary"),
        pytest.param((EXAMPLES.parent / "docs" / "replica.md").read_text(), "1\n", id="page"),
    ],
)
def test_what_the_documentation_shows_runs(trio: Cluster, text: str, said: str) -> None:
    command = [sys.executable, "-c", "import totemd\n" + shown(text)]
    done = run(command, env=environment(COROSYNC_RUN_DIR=str(trio[1].run_dir)), timeout=30)
    assert (done.returncode, done.stdout) == (0, said), done.stderr


def test_replicated_dict(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "replicated_dict.py", trio, 1, "colour=blue")
    one.expect("colour = blue")
    two = start(programs, "replicated_dict.py", trio, 2, "size=3")
    assert "{'colour': 'blue'}" in two.expect("here:")
    one.expect("size = 3")


def test_lock(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "lock.py", trio, 1)
    one.expect("have it, fence 1")
    two = start(programs, "lock.py", trio, 2)
    two.expect("waiting")
    one.kill()
    two.expect("have it, fence 2")
    assert two.close() == 0


def test_a_lock_that_waits_for_other_nodes_says_so(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "lock.py", trio, 1, "--nodes", "3")
    one.expect("joining; the first time until it is started on all 3 nodes")


def test_a_singleton_says_how_it_is_started() -> None:
    done = run([sys.executable, str(EXAMPLES / "singleton.py")])
    assert done.returncode == 1 and done.stderr.startswith("Start it under sam-run: sam-run --singleton")


def test_leader(trio: Cluster, programs: ExitStack) -> None:
    one = start(programs, "leader.py", trio, 1)
    one.expect("I lead, fence 1")
    two = start(programs, "leader.py", trio, 2)
    assert two.expect("leader: 1/").endswith("fence 1\n")
    one.kill()
    two.expect("I lead, fence 2")
