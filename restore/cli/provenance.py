"""`restore provenance`."""

from __future__ import annotations

import json
from typing import Any

import click


@click.command()
@click.argument("file", type=click.Path())
@click.option("--trust", type=click.Path(), help="PEM file of certificates whose word is trusted.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object on stdout and nothing else there.")
def provenance(file: str, trust: str | None, as_json: bool) -> None:
    """Show what FILE tells of how it was made: XMP, and signed Content Credentials.

    Credentials are Trusted (whole, and signed by somebody whom --trust vouches for), Valid (whole) or Invalid (changed
    since). What a file does not tell proves nothing: anybody can take it out.
    """
    from restore.provenance.told import told

    found = told(file, trust)
    if as_json:
        click.echo(json.dumps(found))
        return
    for line in _lines(found):
        click.echo(line)


def _lines(found: dict[str, Any]) -> list[str]:
    xmp, credentials = found["xmp"], found["credentials"]
    lines = []
    if xmp is None or (xmp["digital_source_type"] is None and not xmp["history"]):
        lines.append(f"XMP: {(xmp or {}).get('unreadable', 'tells nothing of how it was made')}")
    else:
        lines.append(f"XMP: {xmp['digital_source_type'] or 'no digital source type'}")
        names = ("when", "action", "softwareAgent", "parameters")
        lines += ["  " + ", ".join(e[n] for n in names if e.get(n)) for e in xmp["history"]]
    if credentials is None:
        lines.append(f"Content Credentials: {found.get('not_looked_for', 'none')}")
        return lines
    faults = f" ({'; '.join(credentials['faults'])})" if credentials["faults"] else ""
    lines.append(f"Content Credentials: {credentials['state']}{faults}")
    for entry in credentials["chain"]:
        when = f", {entry['time']}" if entry["time"] else ""
        lines.append(f"  {entry['made_with'] or 'unknown software'}, signed by {entry['signed_by'] or 'nobody'}{when}")
        for action in entry["actions"]:
            done = action.get("parameters", {}).get("restore", {}).get("done", "")
            source = str(action.get("digitalSourceType", "")).rpartition("/")[2]
            lines.append("    " + ", ".join(part for part in (action["action"], source, done) if part))
    return lines
