"""Migration of Prefect's database, run as a process: `python -m tasks.services.prefect_migrations`.

Uses a private part of Prefect, tried with Prefect 3.9.1: `run_block_auto_registration`, which each of its servers calls
when it starts. Two that start on an empty database at the same time would violate a unique constraint.
"""

from __future__ import annotations

import asyncio


async def migrate() -> None:
    """Create or migrate the tables, and register Prefect's block types."""
    from prefect.server.database import provide_database_interface
    from prefect.server.models.block_registration import run_block_auto_registration

    database = provide_database_interface()
    await database.create_db()
    async with await database.session() as session:
        await run_block_auto_registration(session=session)


if __name__ == "__main__":
    asyncio.run(migrate())
