"""What a stuck saga is stuck at, the definitions on record, what each step is by them, and undo in its true order.

Views alone: nothing waits for it.
"""

from alembic import op

from saga_service.store.migrations.more_to_read.views import VIEWS

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in VIEWS:
        connection.exec_driver_sql(statement)
