"""The first schema: tables in `saga_private`, the contract's views in `saga`, and the commit of one batch."""

from alembic import op

from saga_service.store.migrations.first_schema.claims import CLAIMS
from saga_service.store.migrations.first_schema.commit_batch import COMMIT_BATCH
from saga_service.store.migrations.first_schema.tables import TABLES
from saga_service.store.migrations.first_schema.views import VIEWS

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in ("create schema if not exists saga", *TABLES, COMMIT_BATCH, *CLAIMS, *VIEWS):
        connection.exec_driver_sql(statement)
