"""Rows of a table of applications as the registry keeps and compares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from obligor.errors import SchemaError
from obligor.features.applications import Applications, applications
from obligor.features.encoding import Encoding
from obligor.features.levels import texts
from obligor.features.population import Population
from obligor.features.table_spec import Spec
from obligor.model.pd_model import PdModel
from obligor.training.lifecycle.learnt_rows import (
    Digests,
    RowDigests,
    content_digests,
    identity_digests,
)
from obligor.training.lifecycle.raw_rows import KnownModel, RawRows, has_learnt

LISTED_ROLES = ("id", "leaks", "drop", "forbidden")
SINGLE_ROLES = ("date", "group", "weight")
# What only training asks a table for: which rows are tested on, and how often.
SPLIT_ROLES = ("split", "folds", "test_from", "origins")


@dataclass(frozen=True)
class NewApplications:
    """Rows of a table that a model has not learnt from.

    Attributes
    ----------
    data : Applications
        The rows.
    learnt : int
        How many rows are left out, because the model has learnt from them.
    notes : tuple of str
        Sentences for the person who reads the figures.
    """

    data: Applications
    learnt: int
    notes: tuple[str, ...]


def spec_of(model: PdModel) -> Spec | None:
    """Return the spec that a table's model was trained under; None if unknown."""
    fields = model.about.get("spec")
    return None if fields is None else _validated(fields)


def _validated(fields: Mapping[str, dict[str, object]]) -> Spec:
    """Return the spec of its JSON, in which every default is written out."""
    roles = dict(fields.get("table", {}))
    if roles.get("weight") is None:
        roles.pop("weight_is", None)
    return Spec.model_validate({**fields, "table": roles})


def read_again(frame: pd.DataFrame, spec: Spec) -> Applications:
    """Return another table under the spec of a registered model.

    What only training needs may be absent: identifiers, leaks, columns of the split.

    Parameters
    ----------
    frame : DataFrame
        The whole table.
    spec : Spec
        What the columns of the model's own table are.

    Raises
    ------
    SchemaError
        If the target is missing, or all rows are of one kind.
    """
    return applications(frame, narrowed(spec, [str(name) for name in frame]))


def narrowed(spec: Spec, present: list[str]) -> Spec:
    """Return a spec that names only columns which are present, apart from the target.

    Parameters
    ----------
    spec : Spec
        What the columns of another table are.
    present : list of str
        The columns of this table.

    Examples
    --------
    >>> spec = Spec.model_validate(
    ...     {"target": {"column": "bad"}, "table": {"id": ["no"], "split": "part"}}
    ... )
    >>> narrowed(spec, ["income", "bad"]).table.id
    ()
    """
    fields = spec.model_dump(mode="json")
    roles = fields["table"]
    for name in LISTED_ROLES:
        roles[name] = [column for column in roles[name] if column in present]
    for name in (*SINGLE_ROLES, *SPLIT_ROLES):
        if name in SPLIT_ROLES or roles[name] not in present:
            roles[name] = None
    columns = fields["columns"]
    fields["columns"] = {name: columns[name] for name in columns if name in present}
    if spec.rejects is not None and spec.rejects.column not in present:
        fields["rejects"] = None
    costs = fields.get("costs")
    if costs and costs["amount"] not in present:
        costs["amount"] = None
    return _validated(fields)


def _sampled_alike(known: KnownModel, data: Applications) -> Applications:
    """Return rows that count as their kind did in the table that was learned from.

    Rates of the new table itself would hide that its defaults are more or fewer.
    """
    stored = known.model.about.get("population")
    if stored is None or data.population is None:
        return data
    population = Population(stored["bad_rate"], stored["sample_bad_rate"])
    return replace(data, population=population)


def new_rows(known: KnownModel, data: Applications) -> NewApplications:
    """Return the rows of a table that a model has not learnt from.

    Parameters
    ----------
    known : KnownModel
        A model of a table, with the digests of the rows that it has learnt from.
    data : Applications
        All rows of a table.

    Raises
    ------
    SchemaError
        If the model is one of a ledger, or has learnt from every row.
    """
    if known.model.encoding is None:
        raise SchemaError(
            "the model scores customers of a ledger, not applications",
            where="--table",
            expected="a mapping file",
        )
    is_learnt, note = has_learnt(known, raw_rows_of(data))
    notes = [note] if note else []
    n_learnt = int(is_learnt.sum())
    if n_learnt == len(data):
        raise SchemaError(
            f"the {known.name} has learnt from all {n_learnt:,} rows",
            where=data.spec.name,
            expected="rows that it has not learnt from",
            do="use later applications",
        )
    if n_learnt:
        notes.append(
            f"{n_learnt:,} of {len(data):,} rows are left out, because the "
            f"{known.name} has learnt from them."
        )
        notes += _if_alike(known)
    return NewApplications(
        data=_sampled_alike(known, data.take(np.flatnonzero(~is_learnt))),
        learnt=n_learnt,
        notes=tuple(notes),
    )


def _if_alike(known: KnownModel) -> list[str]:
    """A warning if equal values need not mean the same applicant."""
    past = known.learnt_rows
    if past is None or past.is_telling or past.identity is not None:
        return []
    return [
        "Many applicants have the same values, so some of these rows may be new: an "
        "identifier in [table] id tells them apart."
    ]


def raw_rows_of(data: Applications) -> RawRows:
    """Return the rows of a table before any encoding, without its identifiers."""
    roles = data.spec.table
    not_kept = {data.spec.target.column, *roles.id}
    names = [name for name in data.table if name not in not_kept]
    return RawRows(
        frame=data.table[names].reset_index(drop=True),
        label=data.label,
        groups=pd.factorize(data.groups)[0].astype(np.int64),
        periods=months_of(data),
        identity=identity_of(data),
    )


def months_of(data: Applications) -> NDArray[np.object_]:
    """Return the month of each application; "all" if the table has no dates."""
    if data.dates is None:
        return np.full(len(data), "all", dtype=object)
    return np.asarray(data.dates.astype("datetime64[M]").astype(str), dtype=object)


def identity_of(data: Applications) -> Digests | None:
    """Return a digest of the identifiers and the date of each row.

    None if the table has neither.
    """
    columns = [
        texts(data.table[name]).reset_index(drop=True) for name in data.spec.table.id
    ]
    if data.dates is not None:
        columns.append(pd.Series(data.dates.astype(str)))
    return identity_digests(columns)


def digests_of(data: Applications, encoding: Encoding) -> RowDigests:
    """Return digests of the rows of a table as a model reads them."""
    return RowDigests(content_digests(data.table, encoding), identity_of(data))
