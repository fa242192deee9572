"""Settings, servers, views of the database, definitions, requests and files. Nothing here prints."""
