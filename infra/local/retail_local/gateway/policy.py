"""What each user may do, judged on the engine's syntax tree and kept as allow-lists.

Belongs here: allowed kinds of statements, table functions, table engines, functions, system tables and settings, each
list with its reason. It is the second of two layers: for the reader the engine itself runs in `readonly=1`. Does not
belong here: parsing, and proving who asks.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from retail_local.gateway import errors
from retail_local.gateway.access import User
from retail_local.gateway.errors import GatewayError
from retail_local.gateway.statement import Asker, Statement, Tree, nodes, parse

# Kinds of statements. Whatever the engine may learn to parse in another version is refused until it is listed here.
_READS: Final = frozenset({
    "SelectWithUnionQuery", "ExplainQuery", "DescribeQuery", "ShowTablesQuery", "ShowColumnsQuery", "ShowIndexesQuery",
    "ShowFunctions", "ShowSetting", "ShowCreateTableQuery", "ShowCreateViewQuery", "ShowCreateDatabaseQuery",
    "ExistsTableQuery", "ExistsViewQuery", "ExistsDatabaseQuery", "ExistsDictionaryQuery",
})  # fmt: skip
_WRITES: Final = frozenset({
    "InsertQuery", "CreateQuery", "AlterQuery", "DropQuery", "RenameQuery", "OptimizeQuery", "DeleteQuery",
    "UpdateQuery", "CheckTableQuery", "SetQuery", "UseQuery", "KillQueryQuery", "SystemQuery", "UndropQuery",
    "CreateSQLFunctionQuery", "DropFunctionQuery", "CreateIndexQuery", "DropIndexQuery",
    "ShowProcesslistQuery", "ShowCreateDictionaryQuery", "ShowEngineQuery",
})  # fmt: skip

# Of SYSTEM, only what concerns tables and views. Left out: what stops the process, loads or drops configuration,
# reaches replicas, or changes how the engine fails.
_SYSTEM: Final = frozenset({
    "REFRESH_VIEW", "WAIT_VIEW", "START_VIEW", "START_VIEWS", "STOP_VIEW", "STOP_VIEWS", "CANCEL_VIEW",
    "START_MERGES", "STOP_MERGES", "START_TTL_MERGES", "STOP_TTL_MERGES", "START_MOVES", "STOP_MOVES",
    "FLUSH_LOGS", "FLUSH_ASYNC_INSERT_QUEUE", "RELOAD_DICTIONARY", "RELOAD_DICTIONARIES", "SYNC_FILE_CACHE",
    "DROP_MARK_CACHE", "DROP_UNCOMPRESSED_CACHE", "DROP_QUERY_CACHE", "CLEAR_QUERY_CACHE", "CLEAR_MARK_CACHE",
})  # fmt: skip

# Table functions that make rows from nothing but their arguments. Not on the list: all that reads files, the network,
# programs or this process's own Python objects; `eval`, which runs a text that nobody judged.
_TABLES_OF_ALL: Final = frozenset({
    "numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "generateseries", "generate_series", "generaterandom",
    "values", "sqlstandardvalues", "view", "null", "format", "dictionary",
})  # fmt: skip
# `merge` and `loop` reach tables by pattern or name, system tables too, so they are not for the reader.
_TABLES_OF_ETL: Final = _TABLES_OF_ALL | {"merge", "loop", "mergetreeindex", "mergetreeprojection", "input"}

_ENGINE: Final = re.compile(
    r"(?:Replacing|Summing|Aggregating|Collapsing|VersionedCollapsing|Coalescing|Graphite)?MergeTree"
    r"|Memory|Null|Log|TinyLog|StripeLog|Buffer|Set|Join|Merge|View|MaterializedView|Dictionary|Alias|GenerateRandom"
)
_DATABASE_ENGINES: Final = frozenset({"Atomic", "Memory"})
_DICTIONARY_SOURCES: Final = frozenset({"clickhouse", "null"})
# A dictionary over a table of this engine names a table or a query, nothing of where another server is.
_DICTIONARY_SOURCE_KEYS: Final = frozenset({"db", "database", "table", "query", "where", "invalidate_query", "user"})

# Functions by the engine's own catalogue. Everything of a harmful category is refused, and of the mixed category all
# but what is listed: a function that a later engine adds is refused until it is looked at.
_REFUSED_CATEGORIES: Final = frozenset({"AI", "Introspection", "Machine Learning", "Embedded Dictionary"})
_MIXED_CATEGORIES: Final = frozenset({"Other", "", "Internal"})
_MIXED_ALLOWED: Final = frozenset({
    "__getscalar", "__groupingforcube", "__groupingforgroupingsets", "__groupingforrollup", "__groupingordinary",
    "__scalarsubqueryresult", "_cast", "authenticateduser", "bar", "blocknumber", "blockserializedsize", "blocksize",
    "buildid", "bytesize", "casewithexpression", "coloroklabtosrgb", "coloroklchtosrgb", "colorsrgbtooklab",
    "colorsrgbtooklch", "connectionid", "countdigits", "currentdatabase", "currentprofiles", "currentqueryid",
    "currentroles", "currentschemas", "currentuser", "defaultroles", "defaultvalueofargumenttype",
    "defaultvalueoftypename", "digits", "displayname", "dumpcolumnstructure", "dynamicelement", "enabledroles",
    "errorcodetoname", "finalizeaggregation", "flipcoordinates", "formatquery", "formatqueryornull",
    "formatquerysingleline", "formatquerysinglelineornull", "formatreadabledecimalsize", "formatreadablequantity",
    "formatreadablesize", "formatreadabletimedelta", "getsetting", "getsettingordefault", "getsizeofenumtype",
    "getsubcolumn", "globalvariable", "highlightquery", "hostname", "identity", "ignore", "indexhint",
    "initializeaggregation", "initialqueryid", "initialquerystarttime", "isconstant", "isdecimaloverflow", "joinget",
    "joingetornull", "lowcardinalityindices", "lowcardinalitykeys", "macnumtostring", "macstringtonum",
    "macstringtooui", "materialize", "minsamplesizecontinuous", "minsamplesizeconversion", "neighbor", "nested",
    "normalizedqueryhash", "normalizedqueryhashkeepnames", "normalizequery", "normalizequerykeepnames",
    "parseiso8601duration", "parsereadablesize", "parsereadablesizeornull", "parsereadablesizeorzero",
    "parsetimedelta", "partitionid", "pggetuserbyid", "pgtableisvisible", "queryid", "revision",
    "rownumberinallblocks", "rownumberinblock", "runningaccumulate", "runningconcurrency", "runningdifference",
    "runningdifferencestartingwithfirstvalue", "serveruuid", "shardcount", "shardnum", "tcpport", "throwif",
    "tocolumntypename", "tokenizequery", "totypename", "transform", "uptime", "variantelement", "varianttype",
    "version", "visiblewidth",
})  # fmt: skip

# What a reader may not call, but the user who writes everything may.
_ETL_FUNCTIONS: Final = frozenset({"sleep", "sleepeachrow", "loop", "merge", "getserversetting", "getmergetreesetting"})

# System tables that describe schemas and formats. Not listed are those that show other users' statements, paths,
# configuration or internals.
_SYSTEM_TABLES: Final = frozenset({
    "one", "numbers", "numbers_mt", "zeros", "zeros_mt", "primes", "databases", "tables", "columns", "parts",
    "settings", "functions", "formats", "data_type_families", "table_engines", "table_functions", "time_zones",
    "collations", "keywords", "build_options", "contributors", "licenses",
    "aggregate_function_combinators", "data_skipping_indices", "projections", "view_refreshes", "current_roles",
    "enabled_roles",
})  # fmt: skip

# Settings that would change how a text is parsed after it was judged, or open what the gateway closes. For everybody.
_SETTINGS_OF_NOBODY: Final = re.compile(
    r"\w*dialect\w*|implicit_select|promql_\w+|polyglot\w*"
    r"|allow_introspection_functions|allow_python_table_function|allow_experimental_ai_functions|ai_function\w*"
    r"|disk|storage_policy|format_schema\w*|output_format_schema|format_template\w*|.*_path|http_allow_\w+"
    r"|into_outfile\w*|.*implicit_table_at_top_level|additional_table_filters|additional_result_filter"
    r"|.*(?:file|url|proxy|host)_?(?:base)?|log_queries\w*|param_\w*"
)
# Settings that a reader's driver may send: how results look, limits, and transport. All else is refused.
_READER_SETTINGS: Final = re.compile(
    r"max_\w+|min_\w+|output_format_\w+|format_\w+|date_time_\w+|bool_\w+|join_\w+|group_by_\w+|sort_overflow_mode"
    r"|distinct_\w+|set_overflow_mode|transfer_overflow_mode|\w*_overflow_mode|optimize_\w+|enable_optimize_\w+"
    r"|use_uncompressed_cache|prefer_\w+|aggregate_functions_null_for_empty|data_type_default_nullable|totals_mode"
    r"|extremes|limit|offset|final|session_timezone|log_comment|priority|timeout_\w+|connect_timeout\w*"
    r"|receive_timeout|send_timeout|http_\w+|send_progress_in_http_headers|cancel_http_readonly_queries_on_client_close"
    r"|enable_http_compression|low_cardinality_\w+|cast_\w+|decimal_check_overflow|any_join_\w+|empty_result_\w+"
    r"|transform_null_in|union_default_mode|enable_analyzer|allow_experimental_analyzer|schema_inference_\w+"
    r"|joined_\w+|indexes|actions|header|description|json|graph|compact"  # the last ones are options of EXPLAIN
    r"|rows_before_aggregation|exact_rows_before_limit|enable_named_columns_in_function_tuple|short_circuit_\w+"
)
_BI_TIME_LIMIT: Final = 300
_BI_MEMORY_LIMIT: Final = 4 * 1024**3
READER_LIMITS: Final[Mapping[str, int]] = {
    "max_execution_time": _BI_TIME_LIMIT,
    "max_memory_usage": _BI_MEMORY_LIMIT,
}
"""The most that a reader may ask for of a limit, and what it gets when it asks for nothing."""


@dataclass(frozen=True)
class Catalogue:
    """What the engine itself says about the names that a statement can use.

    Attributes:
        functions: category and lower-case real name of each built-in function that is no aggregate, by lower-case
            name or alias.
        table_functions: lower-case names of all table functions.
    """

    functions: Mapping[str, tuple[str, str]]
    table_functions: frozenset[str]

    def function_is_refused(self, name: str) -> bool:
        """Whether a function could reach beyond the data. Aggregates, their combinators and lambdas can't."""
        name = name.lower()
        known = self.functions.get(name)
        if known is None:
            # `x IN f(…)` takes a table function where a function is expected.
            return name in self.table_functions and name not in _TABLES_OF_ALL
        category, real_name = known
        if category in _REFUSED_CATEGORIES:
            return True
        return category in _MIXED_CATEGORIES and real_name not in _MIXED_ALLOWED


def check_settings(user: User, settings: Mapping[str, str]) -> None:
    """Judge the settings that a request sends beside its statement.

    Raises:
        GatewayError: one of them is not for this user, or asks for more than the user's limit.
    """
    for name, value in settings.items():
        _check_setting_name(user, name)
        limit = READER_LIMITS.get(name)
        if user is User.BI_READER and limit is not None:
            try:
                asked = float(value)
            except ValueError:
                raise GatewayError(errors.BAD_ARGUMENTS, f"Setting {name} should be a number, not {value!r}") from None
            if not 0 < asked <= limit:
                raise GatewayError(
                    errors.SETTING_CONSTRAINT_VIOLATION, f"Setting {name} shouldn't be greater than {limit}"
                )


def _check_setting_name(user: User, name: str) -> None:
    if _SETTINGS_OF_NOBODY.fullmatch(name):
        raise GatewayError(errors.READONLY, f"Cannot modify '{name}' setting: the gateway does not let anybody set it.")
    if user is User.BI_READER and not _READER_SETTINGS.fullmatch(name):
        raise GatewayError(errors.READONLY, f"Cannot modify '{name}' setting: it is not among those of {user}.")


def check_database(user: User, database: str) -> None:
    """Judge the database that unqualified names refer to.

    Raises:
        GatewayError: a reader chose the system database, which would hide which tables a statement reads.
    """
    if user is User.BI_READER and database.lower() == "system":
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: the default database can't be 'system'")


def check_statement(user: User, statement: Statement, catalogue: Catalogue, asker: Asker) -> None:
    """Judge a statement before it runs.

    Args:
        user: who asks.
        statement: what the engine's parser made of the text.
        catalogue: the engine's functions.
        asker: parses what the engine gives no tree for.

    Raises:
        GatewayError: the user may not do that.
    """
    reader = user is User.BI_READER
    if statement.kind not in _READS and (reader or statement.kind not in _WRITES):
        kind = errors.READONLY if reader and statement.kind in _WRITES else errors.ACCESS_DENIED
        raise GatewayError(kind, f"{user}: statements of the kind {statement.kind} are not allowed.")
    tree = statement.tree
    if tree is None:
        if statement.kind != "DescribeQuery":
            # Those kinds have names in them and nothing else, but for a result file, which any of them can name. A
            # table with this word in its name is refused too: better than to tell names and keywords apart here.
            if "OUTFILE" in statement.canonical.upper():
                raise GatewayError(errors.ACCESS_DENIED, f"{user}: statements can't name files of the server.")
            return
        # The engine gives no tree of DESCRIBE; what it describes is written as what SELECT reads.
        tree = parse(asker, _DESCRIBE.sub("SELECT * FROM ", statement.canonical, count=1)).tree
        if tree is None:
            raise GatewayError(errors.ACCESS_DENIED, f"{user}: this DESCRIBE is not allowed.")
    if statement.kind == "ExplainQuery" and tree.get("query", {}).get("type") not in _EXPLAINED:
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: EXPLAIN of this is not allowed.")
    for key, node in nodes(tree):
        _check_node(user, key, node, catalogue)


_DESCRIBE: Final = re.compile(r"\ADESCRIBE TABLE\s+")
_EXPLAINED: Final = frozenset({"SelectWithUnionQuery"})


def _check_node(user: User, key: str, node: Tree, catalogue: Catalogue) -> None:
    kind = node.get("type")
    if node.get("out_file") or node.get("infile") or node.get("attach_from_path"):
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: statements can't name files of the server.")
    if kind == "Function":
        _check_function(user, key, node, catalogue)
    elif kind == "SetQuery":
        for change in node.get("changes", []):
            _check_setting_name(user, str(change.get("name")))
    elif kind == "SystemQuery" and node.get("query_type") not in _SYSTEM:
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: SYSTEM {node.get('query_type')} is not allowed.")
    elif kind == "FunctionWithKeyValueArguments":
        _check_dictionary_source(user, node)
    elif kind == "AlterCommand" and "FETCH" in str(node.get("command_type")):
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: fetching partitions from elsewhere is not allowed.")
    elif kind in {"Identifier", "TableIdentifier"} and user is User.BI_READER:
        _check_identifier(node)
    elif kind == "QueryParameter" and user is User.BI_READER and node.get("param_type") == "Identifier":
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: parameters of the type Identifier are not allowed.")


def _check_function(user: User, key: str, node: Tree, catalogue: Catalogue) -> None:
    name = str(node.get("name"))
    role = node.get("kind")
    if key in {"table_function", "as_table_function"}:
        allowed = _TABLES_OF_ALL if user is User.BI_READER else _TABLES_OF_ETL
        if name.lower() not in allowed:
            raise GatewayError(errors.ACCESS_DENIED, f"{user}: the table function {name} is not allowed.")
    elif role == "TABLE_ENGINE":
        if not _ENGINE.fullmatch(name):
            raise GatewayError(errors.ACCESS_DENIED, f"{user}: the table engine {name} is not allowed.")
    elif role == "DATABASE_ENGINE":
        if name not in _DATABASE_ENGINES:
            raise GatewayError(errors.ACCESS_DENIED, f"{user}: the database engine {name} is not allowed.")
    elif catalogue.function_is_refused(name) and (user is User.BI_READER or name.lower() not in _ETL_FUNCTIONS):
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: the function {name} is not allowed.")


def _check_dictionary_source(user: User, node: Tree) -> None:
    if str(node.get("name")).lower() not in _DICTIONARY_SOURCES:
        raise GatewayError(errors.ACCESS_DENIED, f"{user}: the dictionary source {node.get('name')} is not allowed.")
    for _, pair in nodes(node.get("elements", {})):
        if pair.get("type") == "Pair" and str(pair.get("first")).lower() not in _DICTIONARY_SOURCE_KEYS:
            raise GatewayError(
                errors.ACCESS_DENIED,
                f"{user}: a dictionary's source can't have {pair.get('first')}: local tables only.",
            )


def _check_identifier(node: Tree) -> None:
    parts = node.get("name_parts") or str(node.get("name", "")).split(".")
    if len(parts) > 1 and str(parts[0]).lower() == "system" and str(parts[1]).lower() not in _SYSTEM_TABLES:
        raise GatewayError(errors.ACCESS_DENIED, f"{User.BI_READER}: {parts[0]}.{parts[1]} is not allowed.")
