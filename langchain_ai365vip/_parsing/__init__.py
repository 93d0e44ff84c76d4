"""Text into events: the forms of tool calls, JSON as models write it, objects in prose.

`parser` reads a reply while it arrives into `events`, by two tables: `dialects` has the forms of
calls, `turns` the marks beside them. `objects` finds the JSON objects in a text; `json_text`
judges whether a repair may be believed; `schemas` and `coercion` say what fits a JSON schema,
and what would.
"""
