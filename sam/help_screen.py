"""`sam-run --help`: the options in sections, because nobody reads fifty in a row."""

from __future__ import annotations

import click

from .option_table import SECTIONS
from .option_types import Option


class SectionedCommand(click.Command):
    """A command whose options have their places in a help text (`Option.group`)."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write one list for each section."""
        rows: dict[str, list[tuple[str, str]]] = {section: [] for section in SECTIONS}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and not isinstance(parameter, click.Argument):
                section = parameter.group if isinstance(parameter, Option) else SECTIONS[-1]
                rows[section].append(record)
        for section, records in rows.items():
            with formatter.section(section):
                formatter.write_dl(records)
