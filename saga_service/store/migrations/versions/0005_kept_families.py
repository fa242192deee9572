"""What has ended is kept as long as any saga that may still have to undo it."""

from alembic import op

from saga_service.store.migrations.kept_families.retention import RETENTION

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in RETENTION:
        connection.exec_driver_sql(statement)
