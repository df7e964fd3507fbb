"""Which of the tests that run on every database aren't tried on MariaDB, and why."""

from __future__ import annotations

__all__ = ["reason_on_mariadb"]

TEXT = "the text of this test is a key, and MariaDB's collations take other texts for equal"
SQL = "the statements of this test are PostgreSQL's or SQLite's"
RETURNING = "no UPDATE of MariaDB returns keys, so this takes a query more"
VALUES = "MariaDB doesn't have all values of this test, such as infinity"
MESSAGE = "the message of the database is another"
CONNECTING = "Django asks MariaDB something over each new connection, which this test would count"
ANY_FIELD = "the row may be in an upsert's way by any unique field, so all rows count as changed"
NARROWER = "only whole numbers, dates and UUIDs are known to be kept as they are on MariaDB"

#: Of a test's name, or of the name with a part of its parameters.
LEFT_OUT = {
    "test_any_text_is_a_key": TEXT,
    "test_other_text_is_told_row_by_row": TEXT,
    "test_text_is_the_same_only_when_it_is_identical": TEXT,
    "test_what_is_kept_asks_nothing": TEXT,
    "test_round_trips": TEXT,
    "test_a_table_that_is_not_there": TEXT,
    "test_text_that_the_database_takes_for_equal": SQL,
    "test_text_that_the_database_compares_by_rules_of_its_own": SQL,
    "test_a_test_database_has_rows_of_its_own": SQL,
    "test_what_changes_nothing_costs_nothing": SQL,
    "test_a_view_of_the_table_costs_its_changes_nothing": SQL,
    "test_a_cached_view": SQL,
    "test_other_ways_to_execute": SQL,
    "test_a_change_by_another_field_asks_nothing_more": RETURNING,
    "test_every_kind_of_field_agrees_with_itself": VALUES,
    "test_a_save_that_fails_leaves_no_barrier": MESSAGE,
    "test_readers_at_once_ask_once": CONNECTING,
    "test_a_plain_manager_tells_which_rows[valkey-mariadb-False-_plain_bulk_create]": ANY_FIELD,
    "test_a_plain_manager_tells_which_rows[valkey-mariadb-True-_plain_bulk_create]": ANY_FIELD,
    "test_others_leave_it_as_it_is[valkey-mariadb-<lambda>23]": NARROWER,
    "test_others_leave_it_as_it_is[valkey-mariadb-<lambda>24]": NARROWER,
    "test_others_leave_it_as_it_is[valkey-mariadb-<lambda>25]": NARROWER,
    "test_others_leave_it_as_it_is[valkey-mariadb-<lambda>27]": NARROWER,
    "test_keys_of_every_kind_lead_back_to_their_value": NARROWER,
    "test_what_is_exact[mariadb-TimeField-value1-True]": NARROWER,
    "test_what_is_exact[mariadb-GenericIPAddressField-10.0.0.1-True]": NARROWER,
}


def reason_on_mariadb(name: str) -> str | None:
    """Why a test, by its name with the parameters, isn't tried; None when it is."""
    return LEFT_OUT.get(name) or LEFT_OUT.get(name.partition("[")[0])
