"""Forms: the data that a request asks for, as a JSON Schema, and how a person enters it.

`schema_of` and `as_form_type` are for the author; `fields`, `fill` and `parse_field` for the front end that
asks; `check` and `problems` for the code that accepts the answer. None of them does I/O.
"""

from __future__ import annotations

from hitl_cli.forms.checking import check, check_schema, problems, problems_at
from hitl_cli.forms.fields import Field, fields
from hitl_cli.forms.messages import Problem
from hitl_cli.forms.models import as_form_type, schema_of
from hitl_cli.forms.parsing import fill, parse_field
from hitl_cli.forms.paths import split_assignment
from hitl_cli.forms.permission import unclear

__all__ = [
    "Field",
    "Problem",
    "as_form_type",
    "check",
    "check_schema",
    "fields",
    "fill",
    "parse_field",
    "problems",
    "problems_at",
    "schema_of",
    "split_assignment",
    "unclear",
]
