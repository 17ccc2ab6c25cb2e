"""Known vulnerabilities of what is installed: `python tests/programs/audit.py` asks PyPI's advisories by pip-audit.

Exit 0 when none is known, 1 when one is, 2 when pip-audit itself failed. Without a network it says that nothing was audited,
and exits 0: a check that cannot be made is no finding, and no pass either. Further arguments are pip-audit's.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys

# Vulnerability -> why it does not matter here. Nothing may stand here without a reason.
ACCEPTED: dict[str, str] = {}
_UNREACHABLE = re.compile(r"ConnectionError|ConnectTimeout|ReadTimeout|ProxyError|NameResolution|Max retries exceeded")


def main(arguments: list[str]) -> int:
    """Runs pip-audit on this environment and says what came of it."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--progress-spinner", "off", "--skip-editable"]
    done = subprocess.run([*command, *arguments], capture_output=True, text=True)
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError):
        last = (done.stderr.strip() or "it said nothing").splitlines()[-1]
        if _UNREACHABLE.search(done.stderr):
            print(f"NOT AUDITED: the advisory database cannot be reached ({last[:200]})")
            return 0
        print(f"pip-audit failed: {last[:500]}", file=sys.stderr)
        return 2
    found = [(one["name"], one["version"], known) for one in packages for known in one.get("vulns", ())]
    open_ones = [one for one in found if not {one[2]["id"], *one[2].get("aliases", ())} & ACCEPTED.keys()]
    for name, version, known in open_ones:
        mended = ", ".join(known.get("fix_versions", ())) or "none yet"
        print(f"{name} {version}: {known['id']} {' '.join(known.get('aliases', ()))}, mended in: {mended}")
    skipped = [f"{one['name']} ({one['skip_reason']})" for one in packages if "skip_reason" in one]
    if packages and len(skipped) == len(packages):  # a mirror that knows packages and no advisories
        print(f"NOT AUDITED: the advisory database knows none of {len(packages)} packages, such as {skipped[0]}")
        return 0
    print(
        f"{len(packages) - len(skipped)} packages audited, {len(open_ones)} vulnerabilities, {len(ACCEPTED)} accepted"
    )
    for one in skipped:
        print(f"not audited: {one}")
    return 1 if open_ones else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
