"""Names for the stages of a chunk, so that whoever wants to can time or count them in the loop that really runs."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

Observer = Callable[[str], AbstractContextManager]
"""Is asked for a context around each stage, by the stage's name."""

REFERENCE = "reference"
"""Once a stream: the portrait is encoded, as z_ref and as the first κ."""
SPEECH = "speech"
"""The sound of a window is encoded."""
STEP = "denoise step"
DECODE = "decode"
COLOR = "color match"
CONTINUITY = "continuity"
"""The end of the chunk is encoded again, as the next κ."""
COPY = "copy"
"""The frames are made bytes and come to the CPU."""
RENDER = "render"
"""The portrait is moved, in its own pixels."""
WRITE = "write"
"""The frames and their sound are written to the file, on the CPU."""

STAGES = (REFERENCE, SPEECH, STEP, DECODE, COLOR, CONTINUITY, COPY, RENDER, WRITE)

_observer: ContextVar[Observer | None] = ContextVar("observer", default=None)


def stage(name: str) -> AbstractContextManager:
    """A context for the work of one stage; it does nothing unless the stages are observed."""
    observer = _observer.get()
    return nullcontext() if observer is None else observer(name)


@contextmanager
def observed(observer: Observer) -> Iterator[None]:
    """Has `observer` see the stages that run in this context."""
    token = _observer.set(observer)
    try:
        yield
    finally:
        _observer.reset(token)
