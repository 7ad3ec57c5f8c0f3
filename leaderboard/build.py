"""Write data.js, all that the leaderboard shows: the records in records/, and published.json.

python leaderboard/build.py
dart-eval report results --leaderboard leaderboard
"""

from pathlib import Path

from evaluation_dart.report.leaderboard import build

HERE = Path(__file__).parent

if __name__ == "__main__":
    count, skipped = build(HERE)
    print("\n".join([*skipped, f"{HERE / 'data.js'}: {count} rows"]))
