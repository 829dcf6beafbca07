"""The demonstration: from a simulated ledger to an answer over HTTP."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from obligor.cli.arguments import command_context, console, with_options
from obligor.cli.decide import print_decision
from obligor.cli.ledger import SimulateOptions, load, write_simulated_ledger
from obligor.cli.models import PromoteOptions, run_promotion
from obligor.cli.training import TrainOptions, run_training
from obligor.errors import ObligorError

LEFT_BEHIND = (
    ("decision.json", "the exact body of the answer"),
    (
        "model_report.html",
        "how good the model is; the pictures are beside it as *.png",
    ),
    ("store", "the MLflow store, the loaded ledger and the decision record"),
)


@dataclass(frozen=True)
class DemoOptions:
    """The options of `obligor demo`."""

    folder: Annotated[Path, typer.Argument(help="Folder for all results")] = Path(
        "demo"
    )
    customers: Annotated[int, typer.Option(min=500, help="Number of customers")] = 2000
    port: Annotated[int, typer.Option(min=1, max=65535, help="Port of the service")] = (
        3210
    )


@with_options(DemoOptions)
def demo(options: DemoOptions) -> None:
    """Simulate, train, promote, serve, ask once, and show the answer.

    Example: `obligor demo`
    """
    folder = options.folder
    mapping = folder / "ledger" / "mapping.toml"
    store = folder / "store"
    console.rule("1. a ledger")
    write_simulated_ledger(SimulateOptions(folder / "ledger", options.customers))
    console.rule("2. train, evaluate out of time, register")
    run_training(TrainOptions(mapping, store=store, report=folder))
    promotion = PromoteOptions(
        "latest",
        by="demo",
        because="first model of the demo",
        store=store,
    )
    run_promotion(promotion)
    load(mapping=mapping, store=store)
    console.rule("3. serve, and ask once over HTTP")
    body = _served_answer(folder, store, options.port)
    (folder / "decision.json").write_bytes(body)
    print_decision(json.loads(body))
    console.rule("where to look next")
    for name, description in LEFT_BEHIND:
        console.print(f"{folder / name}: {description}")
    console.print(
        f"ask yourself: obligor decide C0000012 --store {store}; "
        f"or serve: obligor serve --store {store}"
    )


def _served_answer(folder: Path, store: Path, port: int) -> bytes:
    """Run the service for one question, with a key that lasts as long."""
    from obligor.serving.process.launch import running_service

    context = command_context()
    key = context.random(32).hex()
    environment = {
        **context.environment,
        "OBLIGOR_STORE": str(store.resolve()),
        "OBLIGOR_ADMIN_KEY": key,
    }
    with running_service(environment, port, folder / "service.log") as url:
        return _ask(url, store, key)


def _ask(url: str, store: Path, key: str) -> bytes:
    """Post one question about a loaded customer; return the exact body of the answer.

    Parameters
    ----------
    url : str
        Base address of the service.
    store : Path
        Its store; the question is about a customer of the ledger in it.
    key : str
        API key.

    Raises
    ------
    ObligorError
        If the answer is not 200.
    """
    import httpx

    from obligor.data.store import LedgerStore

    ledger = LedgerStore(f"sqlite:///{store.resolve()}/ledger.db")
    question = {
        "customer_id": ledger.customer_ids(40)[-1],
        "request": {"amount": "2500.00", "currency": "EUR", "terms_days": 30},
    }
    address = f"{url}/v1/decisions"
    console.print(f"POST {address}", json.dumps(question), markup=False)
    response = httpx.post(
        address,
        json=question,
        headers={"Idempotency-Key": "demo-1", "Authorization": f"Bearer {key}"},
        timeout=30,
    )
    if response.status_code != 200:
        raise ObligorError(response.text, where=f"HTTP {response.status_code}")
    return response.content
