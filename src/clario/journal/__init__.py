"""A journal of diaries: kept in one SQLite file, read by a worker, corrected by people."""
