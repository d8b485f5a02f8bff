"""What waits in asyncio clients: who gives up is forgotten at once."""

from __future__ import annotations

import asyncio
import contextlib

from totemd.services.cpg.aio import _Bell


def test_who_gives_up_is_not_kept_and_the_others_wake() -> None:
    async def main() -> None:
        bell = _Bell()
        for _ in range(100):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0):
                    await bell.wait()
        assert not bell._waiters
        patient = [asyncio.create_task(bell.wait()) for _ in range(3)]
        await asyncio.sleep(0)
        bell.ring()
        await asyncio.gather(*patient)
        assert not bell._waiters

    asyncio.run(main())
