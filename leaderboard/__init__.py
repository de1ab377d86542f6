"""The leaderboard: files, tables, pages and the command line around the evaluators."""
