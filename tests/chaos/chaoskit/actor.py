"""Makes the faults of a schedule happen, and ends them."""

from __future__ import annotations

import heapq
import signal
import time
from collections.abc import Callable, Iterable

import psutil
from chaoskit.faults import KILLS, NETWORK, PAUSES, Fault, Kind
from chaoskit.kept import Applications, keeper
from chaoskit.members import Members
from chaoskit.weather import rules, weather
from totemd.ipc.errors import NotFound, TotemdError
from totemd.testing import Cluster, wait_until
from totemd.testing.namespaces import Namespaces

TICK_SECONDS = 0.05
"""How exactly the schedule is kept."""

WATCH_SECONDS = 2.0
"""How often nodes that ended by themselves are started again, as an init system does, and memory is looked at."""

UP_SECONDS = 180.0
"""How long all nodes may take to serve again once the faults are over: seconds, but for a machine that starves them."""


class Actor:
    """The hand that breaks things."""

    def __init__(
        self,
        cluster: Cluster,
        network: Namespaces,
        members: Members,
        applications: Applications,
        *,
        loss: float,
        say: Callable[[str], None],
        watch: Callable[[], None],
    ) -> None:
        self._cluster, self._network, self._members = cluster, network, members
        self._applications = applications
        self._loss, self._say, self._watch = loss, say, watch
        self._lasting: list[Fault] = []
        self._paused: dict[Fault, list[psutil.Process]] = {}
        self._rules = dict.fromkeys(cluster.nodes, "")
        self._delays = dict.fromkeys(cluster.nodes, 0.0)
        self.gave_up = 0
        """Nodes that had ended by themselves: too many of their processes were killed in a short time."""

    def carry_out(self, faults: Iterable[Fault]) -> None:
        """Live through a schedule, from now on."""
        began = time.monotonic()
        events = [(fault.at, 1, index, fault) for index, fault in enumerate(faults)]
        events += [(fault.ends, 0, index, fault) for _, _, index, fault in events if fault.lasts]
        heapq.heapify(events)
        self._apply_weather()
        next_watch = 0.0
        while events:
            now = time.monotonic() - began
            if now >= next_watch:
                self._look_after_nodes()
                self._watch()
                next_watch = now + WATCH_SECONDS
            if now < events[0][0]:
                time.sleep(min(TICK_SECONDS, events[0][0] - now))
                continue
            _, begins, _, fault = heapq.heappop(events)
            self._begin(fault) if begins else self._end(fault)

    def heal(self) -> float:
        """End everything; returns the moment from which on nothing is in the way of one ring: all processes serve."""
        for fault in list(self._lasting):
            self._end(fault)
        self._loss, kept = 0.0, self._loss
        self._apply_weather()
        self._loss = kept
        self._look_after_nodes()
        healed = time.monotonic()
        if not (waiting := self._not_serving()):
            return healed
        self._say(f"not serving yet: {'; '.join(waiting)}")
        wait_until(lambda: not self._not_serving(), UP_SECONDS, lambda: f"all serve; {self._not_serving()}")
        return time.monotonic()

    def _not_serving(self) -> list[str]:
        found = []
        for node in self._cluster:
            try:
                processes = node.status().processes
            except TotemdError as error:
                found.append(f"node {node.node_id}: {error}")
                continue
            waiting = [name for name, process in processes.items() if process.state != "running"]
            if waiting or not processes:
                found.append(f"node {node.node_id}: {', '.join(waiting) or 'no processes'}")
        return found

    def _begin(self, fault: Fault) -> None:
        try:
            self._act(fault)
        except (NotFound, psutil.NoSuchProcess) as error:
            self._say(f"({fault}: {error})")
            return
        self._say(str(fault))
        if fault.lasts:
            self._lasting.append(fault)
        if fault.kind in NETWORK:
            self._apply_weather()

    def _act(self, fault: Fault) -> None:
        if fault.kind in NETWORK:
            return
        node = self._cluster[fault.nodes[0]]
        if fault.kind is not Kind.KILL_CLIENT and not node.is_running:
            raise NotFound(f"node {node.node_id} does not run")
        if fault.kind in KILLS:
            node.kill_process(KILLS[fault.kind])
        elif fault.kind is Kind.KILL_KEEPER:
            keeper(node).kill()
        elif fault.kind in PAUSES:
            name = PAUSES[fault.kind]
            victims = node.processes() if name is None else [psutil.Process(node.pid(name))]
            for victim in victims:
                victim.send_signal(signal.SIGSTOP)
            self._paused[fault] = victims
        elif fault.kind is Kind.KILL_NODE:
            node.kill()
            self._applications.forget(node.node_id)
        elif fault.kind is Kind.KILL_EXECUTIVE:
            node.kill_process("executive")
            node.wait()
        else:
            self._members.kill(node.node_id)

    def _end(self, fault: Fault) -> None:
        if fault not in self._lasting:
            return
        self._lasting.remove(fault)
        if fault.kind in NETWORK:
            self._apply_weather()
        elif fault.kind in PAUSES:
            for victim in reversed(self._paused.pop(fault)):
                try:
                    victim.send_signal(signal.SIGCONT)
                except psutil.NoSuchProcess:
                    continue  # it was killed while it was paused, as one that hangs
        elif fault.kind is Kind.KILL_CLIENT:
            self._members.start(fault.nodes[0])
        elif not self._cluster[fault.nodes[0]].is_running:
            self._cluster[fault.nodes[0]].launch()
        self._say(f"  over: {fault.kind} {','.join(map(str, fault.nodes))}")

    def _look_after_nodes(self) -> None:
        dead = {fault.nodes[0] for fault in self._lasting if fault.kind in (Kind.KILL_NODE, Kind.KILL_EXECUTIVE)}
        for node in self._cluster:
            if not node.is_running and node.node_id not in dead:
                self.gave_up += 1
                self._say(f"node {node.node_id} has ended (code {node.exit_code}), and is started again")
                node.launch()

    def _apply_weather(self) -> None:
        state = weather(self._cluster.nodes, self._lasting, self._loss)
        for node in self._cluster.nodes:
            text = rules(node, state, self._network.addresses)
            if text != self._rules[node]:
                self._network.nft(node, text)
                self._rules[node] = text
            delay = state.delay_ms.get(node, 0.0)
            if delay != self._delays[node]:
                self._network.delay(node, delay)
                self._delays[node] = delay
