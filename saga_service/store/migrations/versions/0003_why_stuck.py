"""What a stuck saga is stuck at, beside why it turned to compensation. Views alone: nothing waits for it."""

from alembic import op

from saga_service.store.migrations.why_stuck.views import VIEWS

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in VIEWS:
        connection.exec_driver_sql(statement)
