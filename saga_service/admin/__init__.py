"""What people and programs ask of a deployment, and have done to it: read from the views, requested by id or by filter.

The command line and the HTTP API stand on it. Nothing here prints, and nothing here knows of options or of requests.
"""
