"""Records as others read them: tables, files for the Hub, and leaderboard data."""
