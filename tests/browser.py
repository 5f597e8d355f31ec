"""Reports in a real browser: `python -m tests.browser`, which needs Chromium, and leaves screenshots to look at.

It must not know how a page is made.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from random import Random

from dune_matviews import ExecutionState
from dune_matviews._batch.graph import reads
from dune_matviews.report import RefreshReport
from tests.batch.runs import refresh_all
from tests.simulation import Dune

FOLDER = Path("build/pages")
WIDTHS = {"phone": 500, "desktop": 1280}


def report(count: int) -> RefreshReport:
    """Views that read each other, of which some fail."""
    random = Random(count)
    names = [f"dune.my_team.result_daily_volume_{place}" for place in range(count)]
    views = reads({name: random.sample(names[:place], min(place, 2)) for place, name in enumerate(names)})
    dune = Dune()
    for place, name in enumerate(names):
        end = ExecutionState.FAILED if place == count - 1 else ExecutionState.COMPLETED
        dune.scenarios[name] = random.uniform(3, 300), end, random.uniform(0, 9)
    return refresh_all(dune, views, max_parallel=10)


def main() -> None:
    """Show each page in each width; the browser has to build of it what the page says, and nothing that could run."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.exit("No Chromium is installed: reports were not tried in a browser.")
    folder = FOLDER.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    command = [browser, "--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile"]
    for count in (3, 300):
        page = folder / f"{count}.html"
        page.write_text(report(count).to_html(), "utf-8")
        for name, width in WIDTHS.items():
            shot = f"--screenshot={folder}/{count}-{name}.png"
            subprocess.run([*command, f"--window-size={width},1200", shot, page.as_uri()], check=True, timeout=120)
        done = subprocess.run([*command, "--dump-dom", page.as_uri()], stdout=subprocess.PIPE, check=True, timeout=120)
        document = done.stdout.decode()
        assert len(re.findall('<td class="lane">', document)) == count
        assert "<script" not in document


if __name__ == "__main__":
    main()
