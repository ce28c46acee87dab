"""`python -m docsite`: complete the built site, and fail where a link of it leads nowhere."""

import sys
import tomllib
from pathlib import Path

from docsite.links import broken_links
from docsite.llms import write_index
from docsite.programs import publish_programs

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Complete the site; returns the exit code."""
    project = tomllib.loads((ROOT / "zensical.toml").read_text(encoding="utf-8"))["project"]
    site = ROOT / project["site_dir"]
    publish_programs(ROOT / "examples", site)
    write_index(project, ROOT / project["docs_dir"], site)
    broken = list(broken_links(site))
    for page, target in broken:
        sys.stderr.write(f"{page}: {target} leads nowhere\n")
    return 1 if broken else 0


sys.exit(main())
