"""Find out from the text of an SQL statement what it may change. No I/O.

This isn't a parser of SQL. It distinguishes statements that certainly only read, statements that
certainly change one named table, and all others, which "may change the tables they mention" or "may
change anything". An overestimate costs a few misses; an underestimate would cause a stale row. So
in doubt it overestimates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum
from functools import lru_cache
from typing import Any

from django.db.models import Model

from redisdict.modelcache.invalidation.functions import NO_FUNCTIONS


class Control(Enum):
    """The effect of a statement on the transaction in which it is sent."""

    NONE = 0
    COMMIT = 1
    ROLLBACK = 2


@dataclass(frozen=True, slots=True)
class Statement:
    """The possible effects of a statement.

    Attributes:
        writes: names of tables and views that it may change, without their schemas, in small
            letters.
        qualified: the names that have a schema, with it.
        is_unknown: whether it may change any table.
        is_definition: whether it may change what tables, views, triggers or functions there are.
        control: what it does to the transaction.
        begins: whether a transaction is under way after it.
        is_several: whether the text has several statements.
        changes_session: whether names may mean other tables after it.
        reads_uncommitted: whether what is read after it on MySQL may not be committed.
        upserts: whether an INSERT may update rows that are in its way.
        replaces: whether rows that are in its way are deleted first.
        makes_temporary: whether it makes a temporary table, which may have the name of another.
        functions: names that are called in it. A function may change tables.
        verb: the first word.
    """

    writes: frozenset[str] = frozenset()
    qualified: frozenset[tuple[str, str]] = frozenset()
    is_unknown: bool = False
    is_definition: bool = False
    control: Control = Control.NONE
    begins: bool = False
    is_several: bool = False
    changes_session: bool = False
    reads_uncommitted: bool = False
    upserts: bool = False
    replaces: bool = False
    makes_temporary: bool = False
    functions: frozenset[str] = frozenset()
    verb: str = ""

    @property
    def only_reads(self) -> bool:
        """Whether it does nothing that concerns a cache, unless a function does."""
        return (
            not self.writes
            and not self.is_unknown
            and not self.is_definition
            and not self.changes_session
            and not self.reads_uncommitted
            and self.control is Control.NONE
        )


#: A statement of which nothing is known: it may do whatever there is to do.
UNKNOWN = Statement(is_unknown=True, is_definition=True, changes_session=True)

#: Longer texts are mostly lists of values; they aren't worth their memory.
LONGEST_KEPT = 20_000

COMMENT = r"(?:\s|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)"
BEGINNING = re.compile(rf"(?:{COMMENT}|[(;])*([A-Za-z]+)")
IDENTIFIER = r'(?:"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]|[^\W\d][\w$]*)'
TARGET = re.compile(rf"{COMMENT}*((?:{IDENTIFIER}{COMMENT}*\.{COMMENT}*)*)({IDENTIFIER})")
QUALIFIED = re.compile(rf"({IDENTIFIER}){COMMENT}*+\.{COMMENT}*+(?=({IDENTIFIER}))")
WORD = re.compile(r"[^\W\d][\w$]*")
QUOTED = re.compile(r'"((?:[^"]|"")*)"|`((?:[^`]|``)*)`|\[([^\]]*)\]')
CALL = re.compile(rf'((?>"[^"]*+"|`[^`]*+`|[^\W\d][\w$]*+)){COMMENT}*+\(')
#: MySQL executes what is in such a comment.
EXECUTED_COMMENT = re.compile(r"/\*M?!")
#: MariaDB's SET of settings for one statement.
SET_FOR = re.compile(
    rf"(?:{COMMENT}|[(;])*+SET{COMMENT}++STATEMENT\b.*?\bFOR\b", re.IGNORECASE | re.DOTALL
)
BEGIN = re.compile(r"\b(?:BEGIN|START\s+TRANSACTION|XA\s+(?:START|BEGIN))\b", re.IGNORECASE)
#: PostgreSQL's comments may hold others, and then the first end isn't theirs.
NESTED = re.compile(rf"(?:{COMMENT}|[(;])*/\*(?:[^*/]|\*(?!/)|/(?!\*))*/\*")
SETTING = re.compile(rf"set_config{COMMENT}*\({COMMENT}*'([^']*)'", re.IGNORECASE)
#: What names MySQL's level of isolation, but in a variable that gets one which keeps to commits.
LEVEL = re.compile(
    r"\bUNCOMMITTED\b|\b(?:transaction|tx)_isolation\b"
    r"(?!\s*:?=\s*['\"](?:READ-COMMITTED|REPEATABLE-READ|SERIALIZABLE)\b)",
    re.IGNORECASE,
)
#: What an INSERT does with rows that are in its way.
UPSERTS = re.compile(rf"\bON{COMMENT}+(?:CONFLICT|DUPLICATE)\b", re.IGNORECASE)
REPLACES = re.compile(rf"\bOR{COMMENT}+REPLACE\b", re.IGNORECASE)
TEMPORARY = re.compile(r"\bCREATE\b.*?\bTEMP(?:ORARY)?\b", re.IGNORECASE | re.DOTALL)
SECOND_STATEMENT = re.compile(rf";{COMMENT}*+[^\s;]")

#: What comes between the verb and the table.
LEADS = {
    "insert": re.compile(
        rf"{COMMENT}+(?:OR{COMMENT}+\w+{COMMENT}+|IGNORE{COMMENT}+)?INTO\b", re.IGNORECASE
    ),
    "update": re.compile(
        rf"(?:{COMMENT}+OR{COMMENT}+\w+|{COMMENT}+ONLY\b|"
        rf"(?:{COMMENT}+LOW_PRIORITY\b)?(?:{COMMENT}+IGNORE\b)?)",
        re.IGNORECASE,
    ),
    "delete": re.compile(rf"{COMMENT}+FROM\b(?:{COMMENT}+ONLY\b)?", re.IGNORECASE),
    "replace": re.compile(rf"{COMMENT}+INTO\b", re.IGNORECASE),
}

ALIAS = rf"(?:{COMMENT}*\*)?(?:{COMMENT}*(?:\bAS{COMMENT}+)?{IDENTIFIER})?{COMMENT}*"
#: What comes after the table when it is the only one that is changed.
FOLLOWS = {
    "update": re.compile(rf"{ALIAS}\bSET\b", re.IGNORECASE),
    "delete": re.compile(
        rf"{ALIAS}\b(?:WHERE|USING|RETURNING|ORDER|LIMIT)\b|{COMMENT}*+;?{COMMENT}*+$",
        re.IGNORECASE,
    ),
}

#: Words that change rows, wherever they stand.
WRITING = re.compile(
    r"\b(?:insert|update|delete|merge|truncate|replace|copy|call|do|execute|load|refresh|alter"
    r"|drop|create)\b",
    re.IGNORECASE,
)

#: Such words where they only seem to: locks, the clauses of an upsert, functions, a foreign key's.
HARMLESS = re.compile(
    rf"\bFOR{COMMENT}+(?:NO{COMMENT}+KEY{COMMENT}+)?UPDATE\b"
    rf"|\bDO{COMMENT}+(?:UPDATE{COMMENT}+SET|NOTHING)\b"
    rf"|\bKEY{COMMENT}+UPDATE\b"
    rf"|\bREPLACE{COMMENT}*\(",
    re.IGNORECASE,
)


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


#: Statements that change no row of a table, but for functions that they call.
READING = _words(
    """
    select values table show describe desc pragma vacuum checkpoint reindex cluster
    listen unlisten notify fetch move close deallocate lock comment grant revoke security
    start begin savepoint release explain
    """
)

DEFINING = _words("create alter drop rename truncate refresh import reassign")

#: Words that end a transaction, or a part of it.
ENDING = _words("commit end rollback abort")

#: After them an unqualified name may mean another table.
SESSION = _words("set reset discard use attach detach")

#: What MySQL's SET names when it commits.
COMMITTING_SETTINGS = frozenset({"autocommit", "password"})

#: What SET and RESET name when names may mean other tables after it.
NAMING_SETTINGS = frozenset({"search_path", "schema", "role", "authorization", "all"})


def table_of(model: type[Model]) -> str:
    """Name a model's own table as statements and catalogs do: without schema, in small letters."""
    return _name_in(model._meta.db_table)


@lru_cache(maxsize=4096)
def _name_in(db_table: str) -> str:
    return db_table.replace("`", '"').rsplit('"."', 1)[-1].strip('"').lower()


def text_of(sql: Any, raw_connection: Any) -> str:
    """The text of a cursor's argument: text, bytes, or psycopg's composed SQL."""
    if isinstance(sql, str):
        return sql
    if isinstance(sql, bytes | bytearray):
        return bytes(sql).decode("utf-8", "replace")
    compose = getattr(sql, "as_string", None)
    return str(sql) if compose is None else str(compose(raw_connection))


def read_statement(sql: str) -> Statement:
    """Find out what a statement may change.

    Args:
        sql: one statement, or several that are sent together.
    """
    return _remembered(sql) if len(sql) <= LONGEST_KEPT else _read(sql)


def names_in(sql: str) -> frozenset[str]:
    """Every word and quoted name of a text, in small letters; those in strings as well."""
    words = {word.lower() for word in WORD.findall(sql)}
    quoted = {_plain(next(filter(None, found), "")) for found in QUOTED.findall(sql)}
    return frozenset(words | quoted)


def read_body(text: str) -> Statement:
    """Find out what the body of a function or a trigger may change."""
    rest = HARMLESS.sub(" ", text)
    words = {word.lower() for word in WORD.findall(rest)}
    return Statement(
        writes=names_in(text) if WRITING.search(rest) else frozenset(),
        is_unknown=bool(words & {"execute", "call", "prepare"}),
        functions=_functions(text),
    )


def _read(sql: str) -> Statement:
    beginning = BEGINNING.match(sql)
    if beginning is None or NESTED.match(sql) or EXECUTED_COMMENT.search(sql):
        return Statement(is_unknown=bool(sql.strip(" \t\r\n;")))
    verb = beginning.group(1).lower()
    if SECOND_STATEMENT.search(sql):
        return _several(sql, verb)
    lead = LEADS.get(verb)
    if lead is not None:
        return _change(sql, verb, lead, beginning.end())
    if verb in ("with", "explain", "analyze", "copy", "declare", "prepare"):
        return _compound(sql, verb)
    if verb in READING:
        return Statement(
            functions=_functions(sql),
            begins=verb in ("begin", "start") and BEGIN.search(sql) is not None,
            changes_session=_calls_setting_function(sql),
            verb=verb,
        )
    if verb in ENDING:
        return _end_of_transaction(sql, verb)
    if verb in SESSION:
        return _setting(sql, verb)
    if verb in DEFINING:
        return replace(_mentioning(sql, verb), is_definition=True)
    return replace(UNKNOWN, begins=verb == "xa" and BEGIN.search(sql) is not None, verb=verb)


_remembered = lru_cache(maxsize=2048)(_read)


def _change(sql: str, verb: str, lead: re.Pattern[str], start: int) -> Statement:
    """An INSERT, UPDATE, DELETE or REPLACE."""
    led = lead.match(sql, start)
    target = TARGET.match(sql, led.end()) if led else None
    rest = HARMLESS.sub(" ", sql[led.end() if led else start :])
    if (
        target is None
        or "/*" in sql[start : target.end()]
        or WRITING.search(rest)
        or (verb in FOLLOWS and FOLLOWS[verb].match(sql, target.end()) is None)
    ):
        return _mentioning(sql, verb)
    name = _unquoted(target.group(2))
    schemas = [_unquoted(found) for found in re.findall(IDENTIFIER, target.group(1))]
    return Statement(
        writes=frozenset({name}),
        qualified=frozenset((schema, name) for schema in schemas[-1:]),
        upserts=UPSERTS.search(sql) is not None,
        replaces=REPLACES.search(sql) is not None,
        functions=_functions(sql[target.end() :]),
        verb=verb,
    )


def _compound(sql: str, verb: str) -> Statement:
    """Analyse a statement around others: their changes, if they have any."""
    is_copy_from = verb == "copy" and re.search(r"\bFROM\b", sql, re.IGNORECASE)
    rest = HARMLESS.sub(" ", sql[len(verb) :] if verb == "copy" else sql)
    if is_copy_from or WRITING.search(rest):
        return _mentioning(sql, verb)
    return Statement(
        functions=_functions(sql), changes_session=_calls_setting_function(sql), verb=verb
    )


def _several(sql: str, verb: str) -> Statement:
    """Several statements in one text: whatever they mention, they may change."""
    words = names_in(sql)
    # The block of MariaDB's BEGIN NOT ATOMIC begins no transaction.
    last_begin = max((found.end() for found in BEGIN.finditer(sql)), default=None)
    begins = last_begin is not None and not names_in(sql[last_begin:]) & ENDING
    if words & {"call", "do", "execute"}:
        return replace(UNKNOWN, begins=begins, is_several=True, verb=verb)
    # Whatever it is, to commit what there is to commit is never wrong.
    may_end = bool(words & (ENDING | COMMITTING_SETTINGS))
    is_writing = WRITING.search(HARMLESS.sub(" ", sql))
    return replace(
        _mentioning(sql, verb) if is_writing else Statement(functions=_functions(sql), verb=verb),
        is_definition=bool(words & DEFINING),
        control=Control.COMMIT if may_end else Control.NONE,
        begins=begins,
        is_several=True,
        changes_session=bool(words & SESSION) or _calls_setting_function(sql),
        reads_uncommitted=LEVEL.search(sql) is not None,
    )


def _mentioning(sql: str, verb: str) -> Statement:
    """A statement that may change whatever it mentions."""
    qualified = {(_unquoted(schema), _unquoted(name)) for schema, name in QUALIFIED.findall(sql)}
    return Statement(
        writes=names_in(sql),
        qualified=frozenset(qualified),
        upserts=UPSERTS.search(sql) is not None,
        replaces=REPLACES.search(sql) is not None,
        makes_temporary=TEMPORARY.search(sql) is not None,
        functions=_functions(sql),
        verb=verb,
    )


def _calls_setting_function(sql: str) -> bool:
    """Whether it sets, like SET, something on which names may depend."""
    if "set_config" not in sql.lower():
        return False
    named = SETTING.findall(sql)
    return len(named) != sql.lower().count("set_config") or any(
        one.lower() in NAMING_SETTINGS for one in named
    )


def _setting(sql: str, verb: str) -> Statement:
    """A SET or its like."""
    led = SET_FOR.match(sql)
    if led is not None:
        return _read(sql[led.end() :])
    names = names_in(sql)
    is_about_names = verb not in ("set", "reset") or bool(names & NAMING_SETTINGS)
    is_committing = verb == "set" and bool(names & COMMITTING_SETTINGS)
    return Statement(
        control=Control.COMMIT if is_committing else Control.NONE,
        changes_session=is_about_names,
        reads_uncommitted=LEVEL.search(sql) is not None,
        functions=_functions(sql),
        verb=verb,
    )


def _end_of_transaction(sql: str, verb: str) -> Statement:
    words = [word.lower() for word in WORD.findall(sql)]
    if "prepared" in words:
        # Another session may have made the changes of a prepared transaction.
        return Statement(is_unknown=True, is_definition=True, verb=verb)
    goes_on = "chain" in words and "no" not in words
    if verb in ("commit", "end"):
        return Statement(control=Control.COMMIT, begins=goes_on, changes_session=True, verb=verb)
    if "to" in words:  # a savepoint; what was noted of it does no harm
        return Statement(changes_session=True, verb=verb)
    return Statement(control=Control.ROLLBACK, begins=goes_on, changes_session=True, verb=verb)


def _functions(sql: str) -> frozenset[str]:
    return frozenset(_unquoted(name) for name in CALL.findall(sql)) - NO_FUNCTIONS


def _unquoted(identifier: str) -> str:
    if identifier[0] in '"`[':
        return _plain(identifier[1:-1])
    return identifier.lower()


def _plain(quoted: str) -> str:
    return quoted.replace('""', '"').replace("``", "`").lower()
