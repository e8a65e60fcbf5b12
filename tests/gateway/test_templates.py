"""The templates of the pages."""

from __future__ import annotations

from jinja2 import meta

from hitl_cli.gateway.templating import FIRST, Renderer


def test_all_that_the_first_page_needs_is_prepared() -> None:
    templates = Renderer(lambda: 0)._templates
    assert templates.loader is not None
    for name in FIRST:
        source, _, _ = templates.loader.get_source(templates, name)
        assert set(meta.find_referenced_templates(templates.parse(source))) <= set(FIRST)
