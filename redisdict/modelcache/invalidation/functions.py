"""List names that may precede a bracket in a statement and change nothing. Contains no code."""

from __future__ import annotations

__all__ = ["NO_FUNCTIONS"]

NAMES = """
in as on and or not any all some exists over values from join using where select set when
then else case by union except intersect limit offset filter within group distinct between
like ilike is array row returning into having order partition with interval integer int
bigint smallint numeric decimal varchar char character varying text timestamp time float
real double precision bit serial bigserial count sum avg min max coalesce nullif greatest
least cast convert upper lower length char_length substring substr trim ltrim rtrim btrim
lpad rpad replace position strpos concat concat_ws left right reverse repeat md5 ascii chr
abs ceil ceiling floor round sqrt power mod exp ln log sign random extract date_trunc
date_part to_char to_date to_timestamp now current_setting current_schema current_schemas
current_database row_number rank dense_rank lag lead first_value last_value nth_value
ntile percent_rank cume_dist string_agg array_agg json_agg jsonb_agg json_object_agg
jsonb_object_agg json_build_object jsonb_build_object json_build_array jsonb_build_array
jsonb_array_length json_extract json_type json_array json_object unnest generate_series
stddev_pop stddev_samp var_pop var_samp bool_and bool_or every group_concat total ifnull
iif instr strftime date datetime julianday typeof glob django_date_extract
django_date_trunc django_datetime_extract django_datetime_trunc django_datetime_cast_date
django_datetime_cast_time django_time_extract django_time_trunc django_time_diff
django_timestamp_diff django_format_dtdelta regexp bitand bitor bitxor to_tsvector
to_tsquery plainto_tsquery phraseto_tsquery websearch_to_tsquery ts_rank ts_headline
setweight similarity word_similarity unaccent lateral rollup cube grouping sets nextval
currval lastval setval pg_get_serial_sequence to_regclass format_type pg_get_expr
pg_table_is_visible pg_get_userbyid obj_description col_description quote_ident
quote_literal version txid_current pg_current_xact_id_if_assigned pg_backend_pid
last_insert_rowid changes materialized recursive primary unique check references foreign
key index default
"""

#: What stands before a bracket and is no function, and functions that every database has and that
#: change nothing: those that Django's ORM and hand-written queries are full of.
NO_FUNCTIONS = frozenset(NAMES.split())
