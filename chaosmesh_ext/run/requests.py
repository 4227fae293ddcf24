"""What a run asks of the application, and what the traces of its requests say."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from chaosmesh_ext.errors import InvalidInput
from chaosmesh_ext.model import CONTROL, Answer, Cell, Marker
from chaosmesh_ext.observe.stores import store_of
from chaosmesh_ext.observe.traces import Expected, TraceSource, gather
from chaosmesh_ext.run.growing import Growing
from chaosmesh_ext.run.traffic import Errand, Traffic, application
from chaosmesh_ext.settings import Settings

__all__ = ["Requests"]


class Requests:
    """A run's requests.

    traces: where their traces are; by default the settings' Jaeger, from the first time that it is asked. control:
    what those got that no fault was meant for.
    """

    def __init__(self, settings: Callable[[], Settings], traces: TraceSource | None) -> None:
        self.traces = traces
        self.control: list[Answer] = []
        self._settings = settings
        self._traffic: Traffic | None = None

    @property
    def traffic(self) -> Traffic:
        """What sends them, within the budget of the settings."""
        if self._traffic is None:
            self._traffic = Traffic(self._settings().request_budget)
        return self._traffic

    def send(
        self, url: str, count: int, marker: Marker, *, headers: Mapping[str, str] | None, method: str, timeout: float
    ) -> list[Answer]:
        """Send COUNT requests with MARKER at once; their answers.

        url: whole, or a path on the setting app_url. timeout: seconds. Raises InvalidInput for a URL without origin.
        """
        if count < 1:
            raise InvalidInput(f"count {count} sends nothing: give at least 1")
        errand = Errand.to(application(self._settings(), url), headers or {}, method, timeout)
        sent = [self.traffic.send(errand, marker) for _ in range(count)]
        try:
            return [future.result() for future in sent]
        except BaseException:  # interrupted: the rest would only go before what shows that the faults are gone
            for future in sent:
                future.cancel()
            raise

    def cells(self, grown: Iterable[Growing], source: TraceSource | None = None) -> list[Cell]:
        """The control, then those of GROWN that were injected, with their answers and, from SOURCE, their traces.

        Waits until the traces are complete. Raises Inconclusive where no trace store is known.
        """
        store = source or self._store()
        control = gather(store, self.control).traces if self.control else {}
        expected = Expected.of(control.values())
        found = [Cell(CONTROL, None, tuple(self.control), control)]
        for cell in grown:
            if cell.injected is None:
                continue
            traces = gather(store, cell.answers, injected=cell.injected, expected=expected).traces
            found.append(Cell(cell.id, cell.injected, tuple(cell.answers), traces))
        return found

    def close(self) -> None:
        """Send nothing any more."""
        if self._traffic is not None:
            self._traffic.close()
            self._traffic = None

    def _store(self) -> TraceSource:
        if self.traces is None:
            self.traces = store_of(self._settings())
        return self.traces
