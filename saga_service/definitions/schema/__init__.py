"""Schemas of inputs and outputs, written as JSON Schema or as pydantic models.

Read in this order: `json_schema` (schemas as plain data), `coercion` (text to values), `inputs` (what a producer sends,
by the saga's schema), `outputs` (what a worker returns, by the step's), `source` (what an author wrote, to one of
these), `samples` (values that a schema allows, to check expressions with).

Validation takes a time that grows with the data and not faster. `jsonschema-rs` matches patterns with the `fancy-regex`
engine: in linear time as long as a pattern allows that, and by backtracking where it has look-arounds or references to
groups. `json_schema.validator_of` bounds the backtracking. How deep data is nested is bounded where it comes in
(`wire.json`), and a schema that refers to itself is asked once of each part. pydantic's own patterns are linear.
"""
