"""Schema versions of the record, run by alembic."""
