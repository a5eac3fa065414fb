"""One request from its complete body to its outcome, in one thread.

Belongs here: the order of steps: find the statement, judge it, prepare the connection, run. Does not belong here: HTTP
answers (`app`), and each step itself.
"""

import io
import re
from dataclasses import dataclass
from typing import BinaryIO, Final

from retail_local.gateway import errors, policy
from retail_local.gateway.access import User
from retail_local.gateway.constants import MAX_STATEMENT_BYTES
from retail_local.gateway.engine import Connection, Engine, Job, Outcome
from retail_local.gateway.errors import GatewayError
from retail_local.gateway.request import Request
from retail_local.gateway.sessions import Session, Sessions
from retail_local.gateway.statement import (
    Statement,
    check_format_name,
    parse,
    split_insert,
    starts_insert,
    with_result_file,
)

_READONLY_OF_GET: Final = "2"  # as a ClickHouse server does: no writing, but settings may be set
_NUMBER: Final = re.compile(r"[0-2]\Z")
_LEAVES_STATE: Final = frozenset({"SetQuery", "UseQuery"})


@dataclass(frozen=True)
class Done:
    """A finished request: its outcome and the format it is in."""

    outcome: Outcome
    format: str


class Executor:
    """Runs requests. Its methods block and are called from worker threads."""

    def __init__(self, engine: Engine) -> None:
        """Take the engine to run on."""
        self.engine = engine
        self.sessions = Sessions()

    def run(self, user: User, request: Request, job: Job) -> Done:
        """Run one request.

        Raises:
            GatewayError: whatever is wrong with it.
        """
        job.check()
        policy.check_settings(user, request.settings)
        if request.session_id:
            with self.sessions.hold(
                user, request.session_id, request.session_timeout, must_exist=request.session_must_exist
            ) as session:
                return self._run_in(user, request, job, session)
        return self._run_in(user, request, job, None)

    def _run_in(self, user: User, request: Request, job: Job, session: Session | None) -> Done:
        connection = self.engine.connect()
        keep = False
        try:
            statement, data = self._understand(connection, request)
            policy.check_statement(user, statement, self.engine.catalogue, connection)
            temporary = _makes_temporary(statement)
            if temporary and session is None:
                raise GatewayError(errors.BAD_ARGUMENTS, "Temporary tables need a session_id")
            if session is not None:
                if session.connection is None and (temporary or statement.kind in _LEAVES_STATE):
                    self.sessions.check_room()
                    session.connection, keep = connection, True
                if session.connection is not None:
                    return self._run_pinned(session.connection, user, request, job, statement, data)
            self._prepare(connection, user, request)
            return self._execute(connection, user, request, job, statement, data)
        finally:
            if not keep:
                connection.close()

    def _run_pinned(
        self, connection: Connection, user: User, request: Request, job: Job, statement: Statement, data: BinaryIO
    ) -> Done:
        """Run on a session's own connection and take the request's settings back afterwards."""
        if request.readonly not in {"", "0"} or request.method != "POST":
            raise GatewayError(errors.NOT_IMPLEMENTED, "A session with state does not take read-only requests")
        kept = _set_by(statement)
        names = ", ".join(f"'{name}'" for name in request.settings if name.isidentifier() and name not in kept)
        before: dict[str, str] = {}
        if names:
            rows = connection.ask(
                f"SELECT name, toUInt8(changed), value FROM system.settings WHERE name IN ({names})"  # noqa: S608 - names only
            )
            for row in rows.splitlines():
                name, changed, value = row.split("\t", 2)
                before[name] = value if changed == "1" else ""
        database = connection.ask("SELECT currentDatabase()")
        try:
            self._prepare(connection, user, request)
            return self._execute(connection, user, request, job, statement, data)
        finally:
            if request.database and statement.kind != "UseQuery":
                connection.use(database)
            for name, value in before.items():
                if value:
                    connection.set({name: value})
                else:
                    connection.run(f"SET {name} = DEFAULT")

    def _understand(self, connection: Connection, request: Request) -> tuple[Statement, BinaryIO]:
        """Find the statement in URL and body; what is left of the body is data."""
        body = request.body
        query = request.query.encode()
        head = (query + b"\n" if query else b"") + body.read(MAX_STATEMENT_BYTES + 1)
        if starts_insert(head):
            found = split_insert(connection, head)
            if found is not None:
                statement, offset = found
                consumed = offset - (len(query) + 1 if query else 0)
                body.seek(consumed if consumed >= 0 else len(head) - len(query) - 1)
                if consumed >= 0:
                    return statement, body
                # The URL holds all of the statement and the beginning of the data.
                return statement, io.BytesIO(head[offset:] + body.read())
        if len(head) > MAX_STATEMENT_BYTES:
            raise GatewayError(
                errors.QUERY_IS_TOO_LARGE, f"A statement can't be longer than {MAX_STATEMENT_BYTES} bytes"
            )
        try:
            text = head.decode()
        except UnicodeDecodeError:
            raise GatewayError(errors.SYNTAX_ERROR, "The statement is not valid UTF-8") from None
        return parse(connection, text), io.BytesIO()

    def _prepare(self, connection: Connection, user: User, request: Request) -> None:
        policy.check_database(user, request.database)
        if request.database:
            connection.use(request.database)
        connection.set(request.settings)
        readonly = request.readonly
        if readonly and not _NUMBER.match(readonly):
            raise GatewayError(errors.BAD_ARGUMENTS, f"Setting readonly can't be {readonly!r}")
        if request.method != "POST" and readonly in {"", "0"}:
            readonly = _READONLY_OF_GET
        if user is User.BI_READER:
            limits = {name: str(most) for name, most in policy.READER_LIMITS.items() if name not in request.settings}
            connection.set(limits)
            readonly = "1"
        if readonly not in {"", "0"}:
            connection.set({"readonly": readonly})  # last: after it nothing can be changed

    def _execute(
        self, connection: Connection, user: User, request: Request, job: Job, statement: Statement, data: BinaryIO
    ) -> Done:
        engine = self.engine
        if statement.takes_data:
            connection.set_parameters(request.params)
            outcome = engine.insert(connection, statement, data, job)
            return Done(outcome, request.default_format)
        result_format = statement.format or request.default_format
        check_format_name(result_format)
        job.killable = statement.kind in {"SelectWithUnionQuery", "ExplainQuery"}
        if statement.is_select:
            path = engine.new_result_path()
            changed = with_result_file(connection, statement, path, result_format)
            if changed is None:
                # Some spellings, such as x::Type, have another tree once they are written canonically: judge that one.
                rewritten = parse(connection, statement.canonical)
                policy.check_statement(user, rewritten, engine.catalogue, connection)
                changed = with_result_file(connection, rewritten, path, result_format)
            if changed is not None:
                return Done(engine.query_to_file(connection, changed, path, request.params, job), result_format)
        outcome = engine.query(connection, statement.text, result_format, request.params, job)
        return Done(outcome, result_format)


def _makes_temporary(statement: Statement) -> bool:
    return statement.kind == "CreateQuery" and bool((statement.tree or {}).get("is_temporary"))


def _set_by(statement: Statement) -> set[str]:
    """Return the names of the settings that a SET statement itself changes."""
    changes = (statement.tree or {}).get("changes", []) if statement.kind == "SetQuery" else []
    return {str(change.get("name")) for change in changes}
