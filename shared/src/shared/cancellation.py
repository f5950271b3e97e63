"""Being cancelled while pyreqwest is at it."""

import asyncio


def heed_cancellation() -> None:
    """Raise the CancelledError that an await has kept to itself.

    Where an answer comes in the same moment, pyreqwest (0.15) gives the answer, and its caller learns nothing of the cancellation: a loop
    that was to end goes on, and whoever waits for its end waits for ever. To be called after such an await wherever one may be cancelled
    and would not soon end by itself.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
