"""The HTTP API: sagas started, read and steered by programs, and by the console in a browser.

A route stands on `admin`, as a command does. Answers have the names of the contract's views, so that SQL, the command
line and HTTP have one vocabulary. Needs the extra `http`.
"""
