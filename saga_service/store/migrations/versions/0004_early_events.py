"""Events that come before their saga wait for it, and what waits can be seen in SQL.

Replicas of the version before go on while the new one is rolled out: they take in what is asked by SQL, and leave what
waits for its saga to the new ones.
"""

from alembic import op

from saga_service.store.migrations.early_events.requests import EARLY_EVENTS
from saga_service.store.migrations.early_events.views import VIEWS

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    for statement in (*EARLY_EVENTS, *VIEWS):
        connection.exec_driver_sql(statement)
