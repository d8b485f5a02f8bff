"""A seeded storm over a world, and calm after it."""

from __future__ import annotations

from world import Machine, World

RECOVERS_SECONDS = 20.0


class Weather:
    """One run."""

    def __init__(self, nodes: int, seed: int, seconds: float = 120.0) -> None:
        self.world = World(nodes, seed)
        self.rng = self.world.rng
        self.seconds = seconds

    def run(self) -> World:
        world = self.world
        end = world.time + self.seconds
        world.run(3.0)
        while world.time < end:
            self.something()
            world.run(self.rng.choice((0.05, 0.5, 1.0, 2.0, 4.0)) * self.rng.random())
        self.calm()
        return world

    def something(self) -> None:
        machine = self.rng.choice(list(self.world.machines.values()))
        running = self.world.running
        if running and self.rng.random() < 0.5:
            machine = self.world.machines[running[0].node_id]
        kind = self.rng.choice(
            (
                *("part", "part", "part", "unite", "unite", "unite", "isolate", "crash", "boot", "boot"),
                *("sam", "sam", "serve", "serve", "run", "run", "run", "fail", "kill", "pause", "pause"),
                *("stop sam", "stop runner", "calm", "stop and part", "lag and part"),
            )
        )
        self.world.note(f"{kind} {machine.node_id}")
        nodes = list(self.world.machines)
        match kind:
            case "part":
                self.rng.shuffle(nodes)
                at = self.rng.randint(1, len(nodes) - 1)
                self.world.bus.cut([nodes[:at], nodes[at:]])
            case "isolate":
                self.isolate(machine)
            case "unite":
                self.world.bus.cut([nodes])
            case "crash" if sum(each.up for each in self.world.machines.values()) > len(nodes) // 2 + 1:
                machine.crash()
            case "boot":
                machine.boot()
            case "sam":
                machine.kill_sam()
                self.world.later(self.rng.uniform(0.1, 2.0), machine.start_sam)
            case "serve":
                machine.start_sam()
            case "run":
                machine.start_runner()
            case "fail":
                machine.app_fails()
            case "kill":
                machine.kill_runner()
            case "pause":
                machine.pause(self.rng.choice((0.1, 0.6, 3.0, 8.0)))
            case "stop sam":
                machine.pause_process("sam", self.rng.choice((0.3, 2.0, 6.0)))
            case "stop runner":
                machine.pause_process("runner", self.rng.choice((0.3, 2.0, 6.0)))
            case "stop and part":
                machine.pause_process(self.rng.choice(("sam", "runner")), self.rng.choice((1.0, 2.5)))
                self.world.later(self.rng.uniform(0.0, 0.5), lambda: self.isolate(machine))
                self.world.run(5.0)
            case "lag and part":
                machine.lag = self.rng.choice((0.3, 1.0))
                self.world.later(self.rng.uniform(0.5, 1.5), lambda: self.isolate(machine))
                self.world.later(3.0, lambda: setattr(machine, "lag", 0.0))
                self.world.run(5.0)
            case "calm":
                self.world.run(self.world.timing.failover(0.5) * self.rng.random())

    def isolate(self, machine: Machine) -> None:
        self.world.bus.cut([set(self.world.machines) - {machine.node_id}])

    def calm(self) -> None:
        """Everything is mended, and has time to notice."""
        self.world.run(10.0)
        self.world.note("calm")
        for machine in self.world.machines.values():
            machine.boot()
            machine.start_sam()
            machine.start_runner()
        self.world.bus.cut([list(self.world.machines)])
        self.world.run(RECOVERS_SECONDS)
