"""The database's schema: `schema.sql` is the truth, the numbered files bring a database there.

`migrate` applies what is missing, `version` compares a database with this release, `roles.sql` holds the grants.
"""
