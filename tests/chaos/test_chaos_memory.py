"""What growth of a process is complained about."""

from __future__ import annotations

from chaoskit.memory import Memory

MIB = 2**20


def test_growth_beyond_the_limit_is_told_by_role() -> None:
    memory = Memory(before={(1, "totem"): 50 * MIB, (2, "totem"): 50 * MIB, (1, "cpg"): 40 * MIB})
    memory.after = {(1, "totem"): 59 * MIB, (2, "totem"): 30 * MIB, (1, "cpg"): 40 * MIB}
    assert memory.complaints() == []
    memory.after[2, "totem"] = 61 * MIB
    assert memory.complaints() == ["memory: a totem process has grown by 22%, and may by 20%"]
    totem, cpg = memory.lines()  # nothing of roles that nobody has
    assert "50.0–50.0 MiB first, 59.0–61.0 MiB in the end" in totem and cpg.startswith("memory of cpg")
    assert Memory(growth_max=0.5, before=memory.before, after=memory.after).complaints() == []
