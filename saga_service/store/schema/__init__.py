"""The database's schema: `schema.sql` is the truth, the numbered files bring a database there.

`migrate` compares a database with this release and applies what is missing, `roles.sql` holds the grants.
"""
