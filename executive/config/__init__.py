"""The configuration: corosync.conf's text in, frozen structs out.

`parser` (text -> sections), `schema` (the one option table), `model` (what the rest of totemd reads), `load` (files and
addresses; the only I/O), `diff` (what a reload may change), `reference` (the documentation page from the table).
"""
