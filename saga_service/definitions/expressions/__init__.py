"""Expressions in CEL: conditions (`when`) and the texts in a step's `input`.

Read in this order: `references` (the variables, properties and functions that an expression refers to),
`parser` (its tokens and parts), `cost` (how much it may do), `cel` (its value), `static_evaluation` (its value on
samples, before any saga runs).

The library that evaluates CEL (`common-expression-language`, in Rust) takes a text and gives a value. It does not show
the tree in between: only a flat list of names. So the tree is made here a second time, by hand, from a text that the
library has compiled before; it is the ground of three things: which property of the input is referred to, which part of
an expression is evaluated in which case, and how much work it may do. A library that gives its syntax tree, or its own
types, cost and limits as CEL's Go library does, would let `parser`, `references` and `cost` go.
"""
