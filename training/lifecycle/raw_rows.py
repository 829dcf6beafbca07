"""Rows as they were read, before any model's encoding: what models are compared on.

Two versions of one population may read other columns, in other ways, or be of other
kinds. Each of them scores the same raw rows with its own encoding.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np
import orjson
import pandas as pd
from numpy.typing import NDArray

from obligor.arrays import Bools, Floats, Ints
from obligor.errors import SchemaError
from obligor.features.catalogue import EDITIONS, NAMES
from obligor.features.encoding import Column
from obligor.model.pd_model import PdModel
from obligor.training.lifecycle.learnt_rows import (
    Digests,
    RowDigests,
    content_digests,
    learnt,
)
from obligor.training.validation.subject import Rival

NAMED = 5  # columns named in a note
UNSEEN = "\x00a level that the model had not seen"
# Of rows of a ledger with the second edition of features: what the first edition calls
# ``dpd_days``.
OLDEST_DPD_DAYS = "oldest_dpd_days"


@dataclass(frozen=True)
class RawRows:
    """Rows with outcomes, as a table or a ledger gives them.

    Attributes
    ----------
    frame : DataFrame
        The columns of a table as they were read, or the features of a ledger by name.
    label : ndarray of int, shape (n,)
        1 for a default, else 0.
    groups : ndarray of int, shape (n,)
        The customer or applicant of each row.
    periods : ndarray of object, shape (n,)
        The as-of date or the month of each row; "all" if there are no dates.
    identity : ndarray of uint64, shape (n,), optional
        A digest of the identifiers and the date of each row.
    """

    frame: pd.DataFrame
    label: Ints
    groups: Ints
    periods: NDArray[np.object_]
    identity: Digests | None = None

    def take(self, rows: Ints) -> RawRows:
        """Return some of the rows, by index."""
        return RawRows(
            frame=self.frame.iloc[rows].reset_index(drop=True),
            label=self.label[rows],
            groups=self.groups[rows],
            periods=self.periods[rows],
            identity=None if self.identity is None else self.identity[rows],
        )


@dataclass(frozen=True)
class KnownModel:
    """A registered model with what it has learnt from.

    Attributes
    ----------
    version : str
        Its version in the registry.
    name : str
        What it is called, such as "version 3".
    model : PdModel
        The model.
    learnt_rows : RowDigests, optional
        Of a table's rows; None for a ledger, whose dates tell, and for versions stored
        before digests were kept.
    """

    version: str
    name: str
    model: PdModel
    learnt_rows: RowDigests | None = None


def save_raw_rows(frame: pd.DataFrame, identity: Digests | None, path: Path) -> None:
    """Write raw rows as compressed JSON: every value comes back as it was read.

    Parameters
    ----------
    frame : DataFrame
        Columns of any type, whose names are texts.
    identity : ndarray of uint64, shape (n,), optional
        A digest of each row's identifiers.
    path : Path
        The file to write.
    """
    columns = {}
    for name in frame:
        values = frame[name].astype(object)
        columns[str(name)] = values.where(values.notna(), None).tolist()
    content = {
        "columns": columns,
        "identity": None if identity is None else identity.tolist(),
    }
    text = orjson.dumps(content, default=str, option=orjson.OPT_SERIALIZE_NUMPY)
    path.write_bytes(gzip.compress(text, compresslevel=3, mtime=0))


def load_raw_rows(path: Path) -> tuple[pd.DataFrame, Digests | None]:
    """Read raw rows that `save_raw_rows` has written."""
    content = orjson.loads(gzip.decompress(path.read_bytes()))
    identity = content["identity"]
    return (
        pd.DataFrame(content["columns"]),
        None if identity is None else np.array(identity, dtype=np.uint64),
    )


def decoded_rows(model: PdModel, rows: Floats) -> pd.DataFrame:
    """Return the raw values that encoded rows stand for.

    They serve versions that were stored without their raw rows. A level that the model
    had not seen comes back as one that no model has seen.

    Parameters
    ----------
    model : PdModel
        A model of a table, or of a ledger, whose features are its raw values.
    rows : ndarray of float, shape (n, columns)
        Rows as the model takes them.
    """
    if model.encoding is None:
        return pd.DataFrame(rows, columns=list(model.features))
    columns = {}
    for column, where in model.encoding.parts[: len(model.encoding.columns)]:
        columns[column.name] = _decoded(column, rows[:, where])
    return pd.DataFrame(columns)


def _decoded(column: Column, encoded: Floats) -> pd.Series:
    first = encoded[:, 0]
    if column.kind == "category":
        levels = [*column.levels, UNSEEN]
        codes = np.where(np.isnan(first), len(column.levels), first).astype(np.int64)
        return pd.Series([levels[code] for code in codes.tolist()], dtype=object)
    if encoded.shape[1] == 1:
        return pd.Series(first)
    code_of_row = encoded[:, 1].astype(np.int64)
    values = np.array([np.nan, *column.special])[code_of_row]
    return pd.Series(np.where(code_of_row > 0, values, first))


def columns_of(model: PdModel) -> tuple[str, ...]:
    """Return the raw columns that a model reads."""
    if model.encoding is None:
        return model.features
    return tuple(column.name for column in model.encoding.columns)


def missing_columns(model: PdModel, frame: pd.DataFrame) -> list[str]:
    """Return the columns that a model reads and the rows do not have."""
    own = _frame_of_edition(model, frame)
    return [name for name in columns_of(model) if name not in own]


def _frame_of_edition(model: PdModel, frame: pd.DataFrame) -> pd.DataFrame:
    """Return rows of a ledger in which ``dpd_days`` is what the model takes it for."""
    is_of_first = model.encoding is None and model.features == EDITIONS[1].names
    if not is_of_first or not set(NAMES) <= set(frame):
        return frame
    others = frame.drop(columns="dpd_days")
    return others.rename(columns={OLDEST_DPD_DAYS: "dpd_days"})


def require_columns(known: KnownModel, frame: pd.DataFrame) -> None:
    """Refuse rows that lack a column which a model reads.

    Raises
    ------
    SchemaError
        It names the first missing columns.
    """
    absent = missing_columns(known.model, frame)
    if absent:
        raise SchemaError(
            f"{len(absent)} columns of the {known.name} are missing: {absent[:NAMED]}",
            where="table",
            expected=f"the {len(columns_of(known.model))} columns that it reads",
        )


def model_matrix(model: PdModel, frame: pd.DataFrame) -> Floats:
    """Return raw rows as a model takes them; a column they lack is missing."""
    absent = missing_columns(model, frame)
    own = _frame_of_edition(model, frame)
    complete = own.reindex(columns=[*own.columns, *absent])
    if model.encoding is not None:
        return model.encoding.rows(complete)
    return complete[list(model.features)].to_numpy(dtype=np.float64)


def pd_within(model: PdModel, rows: Floats, days: int) -> Floats:
    """Return the PD of each row within some days, shape (n,).

    Parameters
    ----------
    model : PdModel
        Its own horizon may be another.
    rows : ndarray of float, shape (n, columns)
        Rows as the model takes them.
    days : int
        The horizon, 1 or more.
    """
    if days == model.horizon_days:
        return model.predict_pd(rows)
    if days < model.horizon_days:
        return model.pd_within(model.margin(rows), days)
    pd_ = model.predict_pd(rows)
    survival: Floats = (1 - pd_) ** (days / model.horizon_days)
    return 1 - survival


def has_learnt(known: KnownModel, raw: RawRows) -> tuple[Bools, str]:
    """Return whether a model has learnt from each row, and what is not known of it.

    Rows of a ledger are told by their dates, those of a table by their digests.

    Parameters
    ----------
    known : KnownModel
        The model with the digests of its rows.
    raw : RawRows
        Rows with every column that the model reads, or some of them.

    Returns
    -------
    ndarray of bool, shape (n,)
        False for every row if it cannot be told.
    str
        Why it cannot be told; empty if it can.
    """
    nowhere: Bools = np.zeros(len(raw.label), dtype=bool)
    model = known.model
    if model.encoding is None:
        return _is_before(raw, last_day_learnt(model)), ""
    if known.learnt_rows is None:
        note = (
            f"The {known.name} keeps no digests of the rows that it has learnt from "
            "(it was stored by an earlier release, or made elsewhere), so they cannot "
            "be recognized and left out."
        )
        return nowhere, note
    absent = missing_columns(model, raw.frame)
    if absent:
        note = (
            f"The columns {absent[:NAMED]} of the {known.name} are missing, so rows "
            "that "
            "it has learnt from cannot be recognized."
        )
        return nowhere, note
    content = content_digests(raw.frame, model.encoding)
    return learnt(known.learnt_rows, RowDigests(content, raw.identity)), ""


def last_day_learnt(model: PdModel) -> date | None:
    """Return the last as-of date that a ledger's model has learnt from."""
    days = list[str]()
    trained_on = model.about.get("trained_on")
    if trained_on:
        days.append(trained_on[1])
    if "calibrated_until" in model.about:
        days.append(model.about["calibrated_until"])
    return date.fromisoformat(max(days)) if days else None


def _is_before(raw: RawRows, last_day: date | None) -> Bools:
    if last_day is None:
        return np.zeros(len(raw.label), dtype=bool)
    days = pd.to_datetime(pd.Series(raw.periods).astype(str), errors="coerce")
    is_before: Bools = (days <= pd.Timestamp(last_day)).to_numpy(dtype=bool)
    return is_before


def rival_of(known: KnownModel, raw: RawRows, days: int) -> Rival:
    """Return how another model scores the rows that a version was tested on.

    Parameters
    ----------
    known : KnownModel
        The other model.
    raw : RawRows
        The rows, before any encoding.
    days : int
        The horizon of the outcomes.

    Returns
    -------
    Rival
        Without PDs if the model is of another population: if the rows have none of its
        columns.
    """
    model = known.model
    everything: Bools = np.ones(len(raw.label), dtype=bool)
    absent = missing_columns(model, raw.frame)
    if len(absent) == len(columns_of(model)):
        reason = (
            f"the {known.name} has other columns: the rows have none of those "
            "that it reads, so it is the model of another population; train this one "
            "under a name of its own (--name)"
        )
        return Rival(
            version=known.version,
            name=known.name,
            pd=None,
            is_unseen=everything,
            notes=(reason,),
        )
    is_learnt, note = has_learnt(known, raw)
    notes = [note] if note else []
    if absent:
        notes.append(_absence(known.name, absent))
    n_learnt = int(is_learnt.sum())
    if n_learnt:
        notes.append(
            f"{n_learnt:,} of {len(is_learnt):,} rows are left out, because "
            f"the {known.name} has learnt from them."
        )
    if model.horizon_days != days:
        notes.append(
            f"The PDs of the {known.name} over {model.horizon_days} days are taken to "
            f"{days} days."
        )
    pd_ = pd_within(model, model_matrix(model, raw.frame), days)
    return Rival(
        version=known.version,
        name=known.name,
        pd=pd_,
        is_unseen=~is_learnt,
        notes=tuple(notes),
    )


def _absence(name: str, absent: Sequence[str]) -> str:
    shown = ", ".join(absent[:NAMED])
    if len(absent) > NAMED:
        shown += ", ..."
    return (
        f"The {name} reads {len(absent)} columns that these rows do not have "
        f"({shown}); "
        "they count as missing."
    )
