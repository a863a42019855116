"""Debian's packages, unpacked and not installed: an installed server would start by itself.

In      names of packages, the mirror that this machine uses
Out     a folder with their files
Bounds  FETCH_SECONDS_MAX; a second call does nothing
"""

import os
import shutil
import subprocess

from missing import Missing


def unpack(folder, packages):
    stamp = folder / ".unpacked"
    wanted = " ".join(packages)
    if stamp.exists() and stamp.read_text() == wanted:
        return folder
    for tool in ["apt-get", "dpkg-deb"]:
        if not shutil.which(tool):
            raise Missing(f"this is no Debian (there is no {tool}): install what gives {wanted} yourself")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    download = ["apt-get", "-q", "download", *packages]
    failed = attempt(download, folder)
    if failed and os.geteuid() == 0:
        attempt(["apt-get", "-q", "update"], folder)
        failed = attempt(download, folder)
    if failed:
        raise Missing(f"{failed}; as root, apt-get update may help")
    for package in sorted(folder.glob("*.deb")):
        if failed := attempt(["dpkg-deb", "--extract", str(package), str(folder)], folder):
            raise Missing(failed)
        package.unlink()
    # Written last: a folder without it is made anew.
    stamp.write_text(wanted)
    return folder


def attempt(command, folder):
    """Why it failed, or None."""
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, errors="replace", timeout=FETCH_SECONDS_MAX
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return (
        None
        if done.returncode == 0
        else f"{' '.join(command[:3])}: {(done.stderr.strip().splitlines() or ['it says nothing'])[-1]}"
    )


FETCH_SECONDS_MAX = 300
