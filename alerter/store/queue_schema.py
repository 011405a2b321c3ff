"""The tables of the job queue, which procrastinate brings, and what alerter adds to them.

https://procrastinate.readthedocs.io/en/stable/howto/production/migrations.html
"""

from collections.abc import Collection, Iterator
from importlib.resources import files

from alerter.store.postgres_connection import PostgresConnection

# Defers jobs that are not waiting in the queue yet; a job that another process defers just now is
# one of them. `jobs`: JSON, an array of [task, queueing lock, lock, arguments].
_DEFER = """
CREATE FUNCTION alerter_defer(jobs json) RETURNS void LANGUAGE plpgsql AS $$
DECLARE job json;
BEGIN
  FOR job IN SELECT json_array_elements(jobs) LOOP
    CONTINUE WHEN EXISTS (SELECT 1 FROM procrastinate_jobs
      WHERE queueing_lock = job->>1 AND status = 'todo');
    BEGIN
      PERFORM procrastinate_defer_jobs_v1(ARRAY[ROW(
        job->>0, job->>0, 0, job->>2, job->>1, (job->3)::jsonb, NULL
      )::procrastinate_job_to_defer_v1]);
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
  END LOOP;
END
$$
"""
# Without it the search for a job's lock grows with the queue:
# https://github.com/procrastinate-org/procrastinate/issues/1242
_INDEX = "CREATE INDEX alerter_jobs_lock ON procrastinate_jobs (lock)"


def schema_versions() -> list[str]:
    """Return the names of the migrations of the queue, in order."""
    folder = files("procrastinate.sql").joinpath("migrations")
    return sorted(each.name for each in folder.iterdir() if each.name.endswith(".sql"))


def bring_up_queue(conn: PostgresConnection, applied: Collection[str]) -> Iterator[str]:
    """Create the tables of the queue, or bring them up to date, within a transaction.

    Yield the name of each of its migrations that the database has now.
    """
    sql = files("procrastinate.sql")
    versions = schema_versions()
    if is_new := not set(versions) & set(applied):
        _run(conn, sql.joinpath("schema.sql").read_text(encoding="utf-8"))
        _run(conn, _DEFER)
        _run(conn, _INDEX)
    for version in versions:
        if version not in applied:
            if not is_new:
                _run(conn, sql.joinpath("migrations", version).read_text(encoding="utf-8"))
            yield version


def _run(conn: PostgresConnection, script: str) -> None:
    conn.execute(script.encode(), prepare=False)
