"""The command line: parses, calls a spine, prints. No logic lives here; clock and environment do."""

from __future__ import annotations

import json
import os
import sys
import uuid
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from obligor.cli import audit, keys, models, policy, portfolio, tables
from obligor.cli.models import (
    Config,
    MaybeMapping,
    SpecFile,
    Store,
    TableFile,
    required,
    watch,
)
from obligor.errors import ObligorError

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault(
    "OMP_WAIT_POLICY", "PASSIVE"
)  # LightGBM's idle threads must not burn the others' time
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
os.environ.setdefault("MLFLOW_CONFIGURE_LOGGING", "false")

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="Credit risk for companies that sell on credit: from a receivables ledger to a recorded decision.",
)
app.add_typer(policy.app, name="policy")
app.add_typer(audit.app, name="audit")
app.add_typer(keys.app, name="keys")
app.add_typer(tables.app, name="spec")
app.command()(models.promote)
app.command()(models.recalibrate)
app.command()(models.monitor)
app.command()(models.shadow)
app.command()(portfolio.review)
app.command()(portfolio.cash)
app.command()(portfolio.lgd)
app.command()(audit.doctor)
app.command()(portfolio.cases)
out = Console()

Mapping_ = Annotated[
    Path,
    typer.Argument(help="TOML file that maps your columns; see data/samples/*.toml"),
]


def _today() -> date:
    return datetime.now(UTC).date()


@app.command()
def simulate(
    folder: Annotated[
        Path, typer.Argument(help="Where the CSV files and mapping.toml go")
    ],
    customers: Annotated[int, typer.Option(min=10, max=5_000_000)] = 2000,
    months: Annotated[int, typer.Option(min=6, max=240)] = 36,
    seed: int = 7,
) -> None:
    """Simulate a ledger with known true PDs.

    Example: `obligor simulate ledger/ --customers 2000 --months 36 --seed 7`
    """
    from obligor.data.synthetic import simulate_ledger, write_ledger

    simulation = simulate_ledger(customers, months, seed=seed)
    write_ledger(simulation, folder)
    out.print(
        f"{len(simulation.ledger['invoices']):,} invoices of {customers:,} customers in [b]{folder}[/b]"
    )
    out.print(f"next: obligor check {folder}/mapping.toml")


@app.command()
def check(
    mapping: Mapping_,
    quarantine: Annotated[
        Path | None, typer.Option(help="Folder for the rows that were set aside")
    ] = None,
) -> None:
    """Check a ledger and print every finding; exit code 1 where it is refused.

    Example: `obligor check data/samples/small/mapping.toml`
    """
    from obligor.data.sources import read_ledger, write_quarantine

    result = read_ledger(mapping, today=_today(), environment=os.environ)
    for finding in result.findings[:50]:
        out.print(str(finding), markup=False, highlight=False)
    if len(result.findings) > 50:
        out.print(f"... and {len(result.findings) - 50} more")
    for path in write_quarantine(result, quarantine) if quarantine else ():
        out.print(f"set aside: {path}")
    for table, frame in result.ledger.tables.items():
        out.print(f"{table:<12} {len(frame):>9,} rows")
    out.print("[red]refused[/red]" if result.is_refused else "[green]usable[/green]")
    raise typer.Exit(1 if result.is_refused else 0)


@app.command()
def load(mapping: Mapping_, store: Store = Path("store")) -> None:
    """Check a ledger and load it for the service, in place of what was loaded before.

    Example: `obligor load ledger/mapping.toml`
    """
    from obligor.data.sources import read_ledger
    from obligor.data.store import LedgerStore
    from obligor.serving.settings import Settings

    ledger = read_ledger(mapping, today=_today(), environment=os.environ).require()
    settings = Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})
    settings.store.mkdir(parents=True, exist_ok=True)
    LedgerStore(settings.ledger_url).write(ledger)
    out.print(
        f"loaded {len(ledger['customers']):,} customers, known until {ledger.observed_until}"
    )


@app.command()
def train(
    mapping: MaybeMapping = None,
    table: TableFile = None,
    spec: SpecFile = None,
    config: Config = None,
    seed: Annotated[
        int, typer.Option(help="Of a table's model; a ledger's is in its configuration")
    ] = 7,
    store: Store = Path("store"),
    report: Annotated[
        Path, typer.Option(help="Folder for the HTML report and its plots")
    ] = Path("report"),
    card: Annotated[
        Path | None,
        typer.Option(help="TOML file of answers in the model card: owner = '...'"),
    ] = None,
    tune: Annotated[
        int,
        typer.Option(min=0, help="Trials of a search for parameters, taken up again"),
    ] = 0,
    rejects: Annotated[
        tables.Rejects,
        typer.Option(
            help="How a table's refused applicants count; the report says what changes"
        ),
    ] = "none",
) -> None:
    """Train on a ledger or a table, evaluate on later rows, and register a model as the challenger.

    Example: `obligor train ledger/mapping.toml --config data/samples/receivables_us_2019_config.toml`

    Example: `obligor train --table applications.csv --spec spec.toml`
    """
    from obligor.training.validation.report import read_card

    if table is not None:
        tables.train(table, spec, store, report, seed, read_card(card), tune, rejects)
        return
    mapping = required(mapping)
    from obligor.data.sources import read_ledger
    from obligor.training.runs.ledger_run import train as run
    from obligor.training.samples.config import read_config

    ledger = read_ledger(mapping, today=_today(), environment=os.environ).require()
    trained = run(
        ledger,
        read_config(config),
        store,
        report,
        at=datetime.now(UTC),
        progress=watch,
        card=read_card(card),
        trials=tune,
    )
    _print_figures(trained.figures, trained.peer, len(trained.split.test.rows))
    out.print(f"version [b]{trained.version}[/b], challenger; report: {trained.report}")
    out.print(
        f'next: obligor promote {trained.version} --by "YOUR NAME" --because "WHY"'
    )


@app.command()
def evaluate(
    mapping: MaybeMapping = None,
    table: TableFile = None,
    spec: SpecFile = None,
    version: Annotated[
        str | None, typer.Option(help="Version in the registry; default the newest")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, max=20, help="Of a table")] = 5,
    repeats: Annotated[int, typer.Option(min=1, max=20, help="Of a table's folds")] = 1,
    seed: Annotated[int, typer.Option(help="Of a table's folds and fits")] = 0,
    config: Config = None,
    store: Store = Path("store"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object")] = False,
) -> None:
    """Evaluate a registered model on a ledger beside plain LightGBM, or every model of the ladder on a table's folds.

    Example: `obligor evaluate ledger/mapping.toml --version 1 --json`

    Example: `obligor evaluate --table applications.csv --spec spec.toml --folds 5 --repeats 1 --seed 0 --json`
    """
    if table is not None:
        tables.evaluate(table, spec, folds, repeats, seed, as_json)
        return
    mapping = required(mapping)
    from obligor.data.sources import read_ledger
    from obligor.training.lifecycle.registry import Registry
    from obligor.training.runs.ledger_run import evaluate_model
    from obligor.training.samples.config import read_config
    from obligor.training.samples.sample import build_sample

    ledger, choices, registry = (
        read_ledger(mapping, today=_today(), environment=os.environ).require(),
        read_config(config),
        Registry(store),
    )
    split = build_sample(ledger, choices, watch)
    chosen = version or registry.latest()
    ours, peer = evaluate_model(registry.model(chosen), split, choices)
    if as_json:
        plain = {name: vars(interval) for name, interval in ours.items()}
        print(
            json.dumps(
                {"version": chosen, "rows": len(split.test.rows), "figures": plain}
            )
        )
    else:
        _print_figures(ours, peer, len(split.test.rows))


@app.command()
def serve(
    host: str = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3000,
    store: Store = Path("store"),
) -> None:
    """Run the service in the foreground.

    Example: `obligor serve --port 3000`
    """
    from obligor.serving.process.launch import serve_command

    command = serve_command(host, port)
    # In place of this process: whoever starts it, as process 1 too, tells BentoML itself when to end.
    os.execve(
        command[0], command, {**os.environ, "OBLIGOR_STORE": str(store.resolve())}
    )


@app.command()
def decide(
    customer_id: str,
    as_of: Annotated[
        str | None, typer.Option(help="YYYY-MM-DD; default the ledger's last day")
    ] = None,
    amount: Annotated[str | None, typer.Option(help="Amount asked for")] = None,
    currency: Annotated[str, typer.Option(help="Its currency")] = "EUR",
    store: Store = Path("store"),
    as_json: Annotated[bool, typer.Option("--json", help="The whole answer")] = False,
) -> None:
    """Decide on a loaded customer and record it, as the service would.

    Example: `obligor decide C0000012 --amount 2500 --currency EUR`
    """
    from pydantic import ValidationError

    from obligor.decisions.questions import DecisionRequest
    from obligor.errors import SchemaError
    from obligor.serving.assembly import build_engine
    from obligor.serving.settings import Settings

    asked: dict[str, Any] = {"customer_id": customer_id, "as_of": as_of}
    if amount:
        asked["request"] = {"amount": amount, "currency": currency}
    try:
        request = DecisionRequest.model_validate_json(json.dumps(asked))
    except ValidationError as error:
        first = error.errors()[0]
        raise SchemaError(
            first["msg"], where=".".join(map(str, first["loc"]))
        ) from None
    settings = Settings.of({**os.environ, "OBLIGOR_STORE": str(store)})
    engine = build_engine(
        settings,
        now=lambda: datetime.now(UTC),
        new_id=lambda: str(uuid.uuid4()),
        random=os.urandom,
    )
    body = engine.decide(request).body
    if as_json:
        print(body)
    else:
        _print_decision(json.loads(body))


@app.command()
def demo(
    folder: Annotated[Path, typer.Argument(help="Where everything goes")] = Path(
        "demo"
    ),
    customers: Annotated[int, typer.Option(min=500)] = 2000,
    port: Annotated[int, typer.Option(min=1, max=65535)] = 3210,
) -> None:
    """Simulate, train, promote, serve, ask once, and show the answer: the whole in a few minutes.

    Example: `obligor demo`
    """
    from obligor.serving.process.launch import running_service

    ledger, store = folder / "ledger", folder / "store"
    out.rule("1. a ledger")
    simulate(ledger, customers=customers, months=36, seed=7)
    out.rule("2. train, evaluate out of time, register")
    train(ledger / "mapping.toml", store=store, report=folder)
    models.promote(
        "latest",
        by="demo",
        because="first model of the demo",
        force=False,
        second=None,
        store=store,
    )
    load(ledger / "mapping.toml", store=store)
    out.rule("3. serve, and ask once over HTTP")
    key = os.urandom(
        32
    ).hex()  # for this run only; `obligor keys create` makes lasting ones
    environment = {
        **os.environ,
        "OBLIGOR_STORE": str(store.resolve()),
        "OBLIGOR_ADMIN_KEY": key,
    }
    with running_service(environment, port, folder / "service.log") as url:
        body = _ask(url, store, key)
    (folder / "decision.json").write_bytes(body)
    _print_decision(json.loads(body))
    out.rule("where to look next")
    for name, what in (
        ("decision.json", "the exact body of the answer"),
        (
            "model_report.html",
            "how good the model is; the pictures are beside it as *.png",
        ),
        ("store", "the MLflow store, the loaded ledger and the decision record"),
    ):
        out.print(f"{folder / name}: {what}")
    out.print(
        f"ask yourself: obligor decide C0000012 --store {store}; or serve: obligor serve --store {store}"
    )


def _ask(url: str, store: Path, key: str) -> bytes:
    """Post one real request about one of the loaded customers; return the exact body of the answer."""
    import httpx

    from obligor.data.store import LedgerStore

    customer_id = LedgerStore(f"sqlite:///{store.resolve()}/ledger.db").customer_ids(
        40
    )[-1]
    question = {
        "customer_id": customer_id,
        "request": {"amount": "2500.00", "currency": "EUR", "terms_days": 30},
    }
    headers = {"Idempotency-Key": "demo-1", "Authorization": f"Bearer {key}"}
    out.print(f"POST {url}/v1/decisions", json.dumps(question), markup=False)
    answer = httpx.post(
        f"{url}/v1/decisions", json=question, headers=headers, timeout=30
    )
    if answer.status_code != 200:
        raise ObligorError(answer.text, where=f"HTTP {answer.status_code}")
    return answer.content


def _print_figures(ours: dict[str, Any], peer: dict[str, Any], rows: int) -> None:
    table = Table(
        "figure",
        "this model",
        "plain LightGBM",
        title=f"out of time, {rows:,} rows, 95% intervals",
    )
    for name, interval in ours.items():
        table.add_row(name, str(interval), str(peer[name]))
    out.print(table)


def _print_decision(answer: dict[str, Any]) -> None:
    limit, terms = answer["limit"], answer["terms"]
    table = Table(
        show_header=False, title=f"{answer['customer_id']} as of {answer['as_of']}"
    )
    table.add_row("outcome", f"[b]{answer['outcome']}[/b]")
    table.add_row(
        "PD, 12 months",
        f"{answer['pd_12m']:.2%}  (grade {answer['grade']}, score {answer['score']})",
    )
    caps = ", ".join(f"{name} {cap}" for name, cap in limit["caps"].items())
    table.add_row(
        "limit",
        f"{limit['amount']} {limit['currency']}  ({limit['binding_cap']} binds: {caps})",
    )
    days = "prepayment" if terms["is_prepaid"] else f"{terms['terms_days']} days"
    table.add_row(
        "terms",
        f"{days}, deposit {terms['deposit_share']:.0%}  (class {answer['customer_class']})",
    )
    if answer["price_floor"]:
        floor = answer["price_floor"]
        table.add_row(
            "price floor on credit",
            f"{floor['amount']} {floor['currency']} for {floor['cash_price']} in cash",
        )
    table.add_row(
        "may approve",
        f"{answer['authority']['approver']}; next review {answer['next_review_on']}",
    )
    table.add_row(
        "expected loss",
        f"{answer['expected_loss']['amount']} {answer['expected_loss']['currency']}",
    )
    for reason in answer["reasons"]:
        added = (
            ""
            if reason["contribution"] is None
            else f"  ({reason['contribution']:+.3f})"
        )
        table.add_row(f"reason {reason['code']}", reason["text"] + added)
    for act in answer["counterfactuals"]:
        table.add_row(
            "would be approved",
            f"{act['text']}  (PD {act['pd_12m']:.2%}, grade {act['grade']})",
        )
    if answer["collection"]:
        table.add_row(
            "collection",
            f"{answer['collection']['stage']}: {answer['collection']['because']}",
        )
    explained = answer["explanation"]
    table.add_row(
        "explanation",
        f"base {explained['base']:.4f} + contributions = margin {explained['margin']:.4f}",
    )
    table.add_row(
        "model, policy",
        f"version {answer['model']['version']}, rules of {answer['policy']['version']}",
    )
    table.add_row("recorded", f"{answer['decision_id']} at {answer['recorded_at']}")
    out.print(table)


def main() -> None:
    """Run a command; an error of ours, or of a file, is one line on stderr and exit code 2."""
    try:
        app()
    except (ObligorError, OSError) as error:
        Console(stderr=True).print(f"[red]error:[/red] {error}", highlight=False)
        sys.exit(2)


if __name__ == "__main__":
    main()
