"""Schemas of inputs and outputs, written as JSON Schema or as pydantic models.

Read in this order: `json_schema` (schemas as plain data), `coercion` (text to values), `inputs` (what a producer sends,
by the saga's schema), `outputs` (what a worker returns, by the step's), `source` (what an author wrote, to one of
these), `samples` (values that a schema allows, to check expressions with).

Validation takes a time that grows with the data and not faster. `jsonschema-rs` matches regular expressions with the
`fancy-regex` engine: linear where a pattern needs no more, and backtracking where it has look-arounds or references to
groups. `validators` bounds the backtracking, and the nesting of data is bounded where it comes in (`wire.json`).
"""
