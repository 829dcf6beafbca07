"""What the commands share: options, the rim, and the two consoles.

Clock, environment and chance enter the program here and in the serving process, and
nowhere else.
"""

from __future__ import annotations

import functools
import inspect
import json
import os
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, tzinfo
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar, get_type_hints

import typer
from rich.console import Console
from rich.progress import track

from obligor.errors import SchemaError

if TYPE_CHECKING:
    from obligor.data.checks import LedgerCheck
    from obligor.data.ledger import Ledger
    from obligor.data.left_out import LeftOut
    from obligor.data.store import LedgerStore
    from obligor.data.stored_ledger import StoredLedger
    from obligor.decisions.champion import ChampionLoader
    from obligor.record.record import Record
    from obligor.serving.assembly import Service
    from obligor.serving.settings import Settings
    from obligor.signing import Signer
    from obligor.training.lifecycle.registry import Registry

console = Console()
error_console = Console(stderr=True)

LedgerMapping = Annotated[
    Path,
    typer.Argument(
        help="TOML file that maps your ledger's columns; see data/samples/*.toml"
    ),
]
OptionalMapping = Annotated[
    Path | None,
    typer.Argument(help="TOML file that maps your ledger's columns; or use --table"),
]
TableFile = Annotated[
    Path | None,
    typer.Option("--table", help="Table of applications: CSV, Parquet or Excel"),
]
SpecFile = Annotated[
    Path | None,
    typer.Option(help="TOML file that describes its columns; inferred if not given"),
]
ConfigFile = Annotated[
    Path | None,
    typer.Option(help="TOML file of training choices; all have defaults"),
]
Store = Annotated[
    Path,
    typer.Option(envvar="OBLIGOR_STORE", help="Folder of models, ledger and record"),
]
Rules = Annotated[
    Path,
    typer.Option(envvar="OBLIGOR_RULES", help="Folder of dated rulebooks"),
]
ReportFolder = Annotated[
    Path,
    typer.Option(help="Folder for the HTML report and its plots"),
]
ModelVersion = Annotated[
    str,
    typer.Argument(
        help="Version in the registry, or `latest`, `champion`, `challenger`"
    ),
]
ModelName = Annotated[
    str | None,
    typer.Option(
        "--name",
        help="Name of the model, default obligor-pd; each name has its own champion",
    ),
]
AsOf = Annotated[
    str | None,
    typer.Option(
        help="Last day whose knowledge counts, YYYY-MM-DD; default the day of the "
        "export if the mapping states it, otherwise today"
    ),
]
AsJson = Annotated[
    bool,
    typer.Option("--json", help="Print one JSON object"),
]

Quiet = Annotated[
    bool,
    typer.Option("--quiet", help="Show no bar and no line for each step"),
]
Fresh = Annotated[
    bool,
    typer.Option(
        "--fresh", help="Fit everything anew, also what an interrupted run has fitted"
    ),
]

Options = TypeVar("Options")


def print_json(document: Mapping[str, object]) -> None:
    """Print one JSON document; a figure that cannot be computed is null."""
    print(json.dumps(_finite(document), allow_nan=False))


def _finite(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not isfinite(value):
        return None
    return value


def with_options(
    options_type: type[Options],
) -> Callable[[Callable[[Options], None]], Callable[..., None]]:
    """Turn the fields of a dataclass into the options of a command.

    A command with many options takes them as one value; Typer reads the options from
    the signature that this decorator writes.
    """
    hints = get_type_hints(options_type, include_extras=True)
    signature = inspect.signature(options_type)
    parameters = [
        parameter.replace(annotation=hints[parameter.name])
        for parameter in signature.parameters.values()
    ]

    def decorate(function: Callable[[Options], None]) -> Callable[..., None]:
        @functools.wraps(function)
        def command(**values: object) -> None:
            function(options_type(**values))

        vars(command)["__signature__"] = inspect.Signature(parameters)
        command.__annotations__ = hints
        return command

    return decorate


@dataclass(frozen=True)
class Context:
    """The rim of one command: clock, environment and chance, and what they open.

    Attributes
    ----------
    environment : mapping of str to str
        The environment variables.
    clock : callable
        Returns the time, with its zone.
    random : callable
        Returns as many random bytes as it is asked for.
    """

    environment: Mapping[str, str]
    clock: Callable[[], datetime]
    random: Callable[[int], bytes]

    def now(self) -> datetime:
        """Return the time, with its zone."""
        return self.clock()

    def today(self) -> date:
        """Return the day that it is for the house."""
        from obligor.data.time_zone import day_at

        return day_at(self.clock(), self.zone())

    def zone(self) -> tzinfo:
        """Return the time zone of the house.

        Raises
        ------
        SchemaError
            If there is no such time zone.
        """
        return self.stated_zone() or UTC

    def stated_zone(self) -> tzinfo | None:
        """Return the time zone that the environment states; None if it states none.

        Raises
        ------
        SchemaError
            If there is no such time zone.
        """
        from obligor.data.time_zone import TIME_ZONE, parse_time_zone

        name = self.environment.get(TIME_ZONE)
        return None if name is None else parse_time_zone(name)

    def new_id(self) -> str:
        """Return a fresh id."""
        return str(uuid.UUID(bytes=self.random(16), version=4))

    def settings(self, store: Path) -> Settings:
        """Return the settings of the environment, for one store."""
        from obligor.serving.settings import Settings

        return Settings.of({**self.environment, "OBLIGOR_STORE": str(store)})

    def ledger(self, mapping: Path) -> Ledger:
        """Read and check a ledger; a refused one is an error.

        What was left out of it is printed beside the output.
        """
        result = self.checked_ledger(mapping)
        ledger = result.require()
        print_left_out(result)
        return ledger

    def checked_ledger(
        self, mapping: Path, stored: StoredLedger | None = None
    ) -> LedgerCheck:
        """Read and check a ledger.

        Parameters
        ----------
        mapping : Path
            The mapping file.
        stored : StoredLedger, optional
            The loaded ledger that it is to update.
        """
        from obligor.reading.sources import read_ledger

        return read_ledger(
            mapping,
            today=self.today(),
            environment=self.environment,
            zone=self.stated_zone(),
            stored=stored,
        )

    def ledger_with_outcomes(self, mapping: Path) -> Ledger:
        """Read a ledger to learn from; until when it was observed is printed."""
        ledger = self.ledger(mapping)
        because = "the day of the export"
        if ledger.exported_on is None:
            because = "the last posting, as the mapping does not state exported_on"
        error_console.print(
            f"outcomes are observed until {ledger.observed_until} ({because})",
            highlight=False,
        )
        return ledger

    def as_of(self, text: str | None, exported_on: date | None) -> date:
        """Return the as-of date of a command; the day and the reason are printed.

        Parameters
        ----------
        text : str, optional
            The option ``--as-of``.
        exported_on : date, optional
            The day on which the source of the ledger was written.

        Raises
        ------
        SchemaError
            If the text is not a date.
        AsOfError
            If the day lies in the future.
        """
        from obligor.decisions.as_of import as_of_day

        requested = None if text is None else parsed_day(text)
        day, because = as_of_day(requested, exported_on, self.today())
        error_console.print(f"as of {day} ({because})", highlight=False)
        return day

    def record(self, store: Path) -> Record:
        """Open the record of a store."""
        from obligor.serving.assembly import open_record

        record, _ = open_record(self.settings(store), self.random)
        return record

    def ledger_store(self, store: Path) -> LedgerStore:
        """Open the ledger store; names and reports are sealed by the record's keys.

        The record is opened when something is to be sealed first.
        """
        from obligor.data.store import LedgerStore
        from obligor.record.seals import CustomerSeals

        settings = self.settings(store)
        settings.store.mkdir(parents=True, exist_ok=True)
        return LedgerStore(
            settings.ledger_url,
            lambda: CustomerSeals(self.record(store).database),
        )

    def champions(self, store: Path, name: str | None = None) -> ChampionLoader:
        """Return the loader of a store's champion model, or of that of another name."""
        from obligor.decisions.champion import ChampionLoader
        from obligor.model.bundle import MODEL_NAME

        settings = self.settings(store)
        return ChampionLoader(
            settings.store,
            settings.trusted,
            name=name or MODEL_NAME,
        )

    def registry(self, store: Path, name: str | None = None) -> Registry:
        """Open the registry of a store for models of one name."""
        from obligor.model.bundle import MODEL_NAME
        from obligor.training.lifecycle.registry import Registry

        return Registry(store, name or MODEL_NAME)

    def service(self, store: Path) -> Service:
        """Put the service together, as one of its processes does."""
        from obligor.serving.assembly import assemble_service

        return assemble_service(
            self.settings(store),
            now=self.now,
            new_id=self.new_id,
            random=self.random,
        )

    def release_signer(self, store: Path) -> Signer:
        """Return the key that signs models and rulebooks."""
        from obligor.signing import release_signer

        key = self.environment.get("OBLIGOR_RELEASE_KEY")
        return release_signer(store, key, self.random)


def print_left_out(result: LedgerCheck) -> None:
    """Print what was left out of a ledger, beside the output."""
    print_losses(result.left_out, result.ledger.currency)


def print_losses(left_out: Iterable[LeftOut], currency: str) -> None:
    """Print what was left out of each table, beside the output."""
    for loss in left_out:
        error_console.print(
            loss.sentence(currency),
            style="yellow",
            markup=False,
            highlight=False,
        )


def command_context() -> Context:
    """Return the context of this process."""
    return Context(os.environ, lambda: datetime.now(UTC), os.urandom)


def required_mapping(mapping: Path | None) -> Path:
    """Return the mapping file, or say that one of two inputs must be named.

    Raises
    ------
    SchemaError
        If it is None.
    """
    if mapping is None:
        raise SchemaError(
            "the command was given nothing to read",
            where="arguments",
            expected="a mapping file, or --table FILE",
        )
    return mapping


def parsed_day(text: str, where: str = "--as-of") -> date:
    """Return the day that a text names.

    Raises
    ------
    SchemaError
        If it is not an ISO 8601 date.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise SchemaError(
            f"{text!r} is not a date",
            where=where,
            expected="a date such as 2026-01-31",
        ) from None


def progress_bar(description: str) -> Callable[[Iterable[date]], Iterator[date]]:
    """Return a function that shows a bar while it passes on the days it gets."""

    def watch(days: Iterable[date]) -> Iterator[date]:
        bar = track(
            list(days),
            description=description,
            console=error_console,
            transient=True,
        )
        return iter(bar)

    return watch
