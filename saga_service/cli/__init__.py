"""The command line, `saga-service`: one file per group of commands.

Every module here is light to import. Libraries and the service itself are imported inside the command that needs
them, so that help and completion answer at once.
"""
