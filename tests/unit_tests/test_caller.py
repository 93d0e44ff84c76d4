"""Warnings that name the caller's line: what keeps the line beyond tasks and threads."""

from __future__ import annotations

import asyncio
import contextvars

from langchain_ai365vip._caller import anoting_caller


@anoting_caller
async def suspended() -> None:
    await asyncio.sleep(0)


def test_a_coroutine_may_be_closed_in_another_context_than_it_ran_in() -> None:
    # As the garbage collector does it, in whichever task or thread it happens to run.
    coroutine = suspended()
    contextvars.copy_context().run(coroutine.send, None)
    coroutine.close()
