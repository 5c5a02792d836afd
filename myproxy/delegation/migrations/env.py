"""Alembic's entry point; everything is in `gsi.sql.migrate`."""

from gsi.sql.migrate import run_in_environment

run_in_environment()
