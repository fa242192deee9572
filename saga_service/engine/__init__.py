"""One batch through one door: decode, group, fold, commit, publish. It knows Postgres and Redis only as `ports`."""
