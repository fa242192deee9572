"""All that sagas can mean beyond a sequence of steps, and the removal of what has ended.

Its indexes are made while nothing else may write: on big tables, stop the service before.
"""

from alembic import op

from saga_service.store.migrations.full_semantics.commit_batch import COMMIT_BATCH
from saga_service.store.migrations.full_semantics.requests import REQUESTS
from saga_service.store.migrations.full_semantics.retention import RETENTION
from saga_service.store.migrations.full_semantics.saga_columns import SAGA_COLUMNS
from saga_service.store.migrations.full_semantics.views import VIEWS

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

STATEMENTS = (*SAGA_COLUMNS, *REQUESTS, COMMIT_BATCH, *VIEWS, *RETENTION)


def upgrade() -> None:
    connection = op.get_bind()
    for statement in STATEMENTS:
        connection.exec_driver_sql(statement)
