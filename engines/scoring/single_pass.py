"""One pass of an evaluator with handlers attached for it alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ignite.engine import Engine


class PassHandler(Protocol):
    """A handler that measures or draws while an evaluator runs."""

    def attach(self, engine: Engine) -> list[Any]:
        """Register on the evaluator; return the handles by which it can be removed."""


def run_once(evaluator: Any, handlers: Iterable[PassHandler], loader: Any = None) -> None:
    """Run the evaluator once with the handlers, on its own images or those of another loader."""
    handles = [handle for handler in handlers for handle in handler.attach(evaluator)]
    own, length = evaluator.data_loader, evaluator.state.epoch_length
    try:
        if loader is not None:
            evaluator.data_loader, evaluator.state.epoch_length = loader, len(loader)
        evaluator.run()
    finally:
        evaluator.data_loader, evaluator.state.epoch_length = own, length
        for handle in handles:
            handle.remove()
