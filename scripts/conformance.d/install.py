"""The suite and the Python 2.7 that it needs, in a folder of our own.

In      a cache folder, the package registry; for want of a Python 2.7 also Debian's packages
        AUTOBAHN_PYTHON2 names a Python 2.7 to use, or is `debian` to take Debian's anyway
Out     a `Suite` that runs; the machine outside the folder stays as it is
Bounds  versions are those of requirements.txt; a second call does nothing
"""

import hashlib
import os
import pathlib
import shutil
import subprocess
import sys


class Suite:
    """An installed suite."""

    def __init__(self, python, env, site):
        self.command = [python, *ISOLATED, str(HERE / "wstest.py"), str(site)]
        self.env = env

    def catalog(self):
        """All case numbers that the suite has, in its order."""
        done = subprocess.run([*self.command, "catalog"], env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode != 0:
            raise Failed(f"the installed suite does not start: {tail(done.stderr)}")
        return done.stdout.decode().split()

    def run(self, arguments, sink, seconds_max):
        """Runs wstest and returns its exit status."""
        command = [*self.command, *arguments]
        return subprocess.run(command, env=self.env, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink, timeout=seconds_max).returncode


def ensure(cache):
    """Installs what is missing. Raises `Failed` with the reason if that is not possible."""
    python, env = python2(cache)
    site, stamp = cache / "site", cache / "site.stamp"
    wanted = fingerprint(python)
    if not stamp.exists() or stamp.read_text() != wanted:
        stamp.unlink(missing_ok=True)
        shutil.rmtree(site, ignore_errors=True)
        install_requirements(python, env, cache, site)
        Suite(python, env, site).catalog()
        # Written last: a folder without it is a broken installation and is made anew.
        stamp.write_text(wanted)
    return Suite(python, env, site)


def install_requirements(python, env, cache, site):
    say(f"installing the suite for {python}")
    boot = cache / "boot"
    pip = fetch_pip(python, env, boot)
    # autobahn and txaio are only there as source, in plain Python, and are built with setuptools.
    tools = [name for name in REQUIREMENTS.read_text().split() if name.startswith("setuptools==")]
    pip_install(python, env, pip, boot / "tools", tools)
    env = {**env, "PYTHONPATH": str(boot / "tools")}
    pip_install(python, env, pip, site, ["--only-binary", ":all:", "--no-binary", "autobahn,txaio", "-r", str(REQUIREMENTS)])
    shutil.rmtree(boot)


def pip_install(python, env, pip, folder, what):
    command = [python, *ISOLATED, str(pip), "install", "-q", "--no-deps", "--no-cache-dir", "--target", str(folder), *what]
    check(command, f"the package registry did not give {' '.join(what)} for Python 2.7", env=env)


def fetch_pip(python, env, boot):
    """The last pip for Python 2.7; run from its archive, not installed."""
    shutil.rmtree(boot, ignore_errors=True)
    boot.mkdir(parents=True)
    reasons = []
    for own, own_env in [(sys.executable, dict(os.environ)), (python, env)]:
        command = [own, "-m", "pip", "download", "-q", "--no-deps", "--only-binary", ":all:", "-d", str(boot), PIP]
        try:
            check(command, f"{own} -m pip", env=own_env)
            return next(boot.glob("pip-*.whl")) / "pip"
        except Failed as error:
            reasons.append(str(error))
    raise Failed(f"{PIP} cannot be downloaded: " + "; ".join(reasons))


def python2(cache):
    """A Python 2.7 and the environment to run it in: one of this machine, else Debian's, unpacked into the cache."""
    wanted = os.environ.get("AUTOBAHN_PYTHON2", "")
    own = dict(os.environ)
    if wanted not in ("", "debian"):
        if not works(wanted, own):
            raise Failed(f"AUTOBAHN_PYTHON2={wanted} is not a whole Python 2.7: it does not run {PROBE!r}")
        return wanted, own
    for candidate in python2_candidates() if not wanted else []:
        if works(candidate, own):
            return candidate, own
    unpacked = cache / "python2"
    if not works(*unpacked_python(unpacked)):
        unpack_debian(unpacked)
    python, env = unpacked_python(unpacked)
    if not works(python, env):
        raise Failed(f"Debian's Python 2.7, unpacked to {unpacked}, does not run here")
    return python, env


def python2_candidates():
    """Where a Python 2.7 may be; pyenv keeps those that are not selected off the path."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv"))
    found = [shutil.which("python2.7"), shutil.which("python2"), *sorted(pyenv.glob("versions/2.7*/bin/python2.7"))]
    return [str(path) for path in found if path]


def works(python, env):
    try:
        done = subprocess.run([python, *ISOLATED, "-c", PROBE], env=env, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    except OSError:
        return False
    return done.stdout.split() == [b"2", b"7"]


def unpacked_python(folder):
    libraries = ":".join(map(str, sorted(folder.glob("usr/lib/*-linux-gnu*"))))
    return str(folder / "usr/bin/python2.7"), {**os.environ, "LD_LIBRARY_PATH": libraries}


def unpack_debian(folder):
    """Unpacks the Python 2.7 of the last Debian that had one, from the mirror that this machine uses."""
    say(f"taking the Python 2.7 of Debian {DEBIAN}")
    for tool in ["apt-get", "dpkg"]:
        if not shutil.which(tool):
            raise Failed(f"{NO_PYTHON2}, and without {tool} Debian's cannot be taken")
    shutil.rmtree(folder, ignore_errors=True)
    apt = folder / "apt"
    for part in ["lists/partial", "archives/partial", "debs"]:
        (apt / part).mkdir(parents=True)
    (apt / "status").touch()
    (apt / "sources.list").write_text(f"deb {debian_mirror()} {DEBIAN} main\n")
    # apt's own lists, cache and package database are not touched, and it trusts the keys that it always trusts.
    options = [f"Dir::Etc::sourcelist={apt}/sources.list", "Dir::Etc::sourceparts=/dev/null", f"Dir::State={apt}",
               f"Dir::State::status={apt}/status", f"Dir::Cache={apt}", "Acquire::Languages=none"]
    apt_get = ["apt-get", "-q"] + [word for option in options for word in ("-o", option)]
    check([*apt_get, "update"], f"no package lists of Debian {DEBIAN}")
    check([*apt_get, "download", *DEBIAN_PACKAGES], f"no packages {' '.join(DEBIAN_PACKAGES)}", cwd=apt / "debs")
    for package in sorted((apt / "debs").glob("*.deb")):
        check(["dpkg", "-x", str(package), str(folder)], f"{package.name} cannot be unpacked")
    shutil.rmtree(apt)


def debian_mirror():
    """The address from which this machine takes Debian's main section."""
    listed = subprocess.run(["apt-get", "indextargets", "--format", "$(REPO_URI) $(ORIGIN) $(LABEL) $(COMPONENT)", "Created-By: Packages"],
                            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL).stdout.decode()
    for line in listed.splitlines():
        address, _, rest = line.partition(" ")
        if rest == "Debian Debian main":
            return address
    raise Failed(f"{NO_PYTHON2}, and its apt sources name no Debian mirror (after `apt-get update`)")


def check(command, what, **options):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **options)
    except OSError as error:
        raise Failed(f"{what}: {error}") from None
    if done.returncode != 0:
        raise Failed(f"{what}: {tail(done.stdout)}")


def fingerprint(python):
    return f"{python} {hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()}\n"


def tail(output):
    return output.decode("utf-8", "replace").strip()[-1500:]


def say(line):
    print(f"conformance: {line}", flush=True)


class Failed(Exception):
    """The suite cannot be installed here; the message says why."""


HERE = pathlib.Path(__file__).resolve().parent
REQUIREMENTS = HERE / "requirements.txt"
PIP = "pip==20.3.4"
# No site packages, no PYTHON* variables, no warnings about the age of Python 2.
ISOLATED = ["-sSEB", "-W", "ignore"]
PROBE = "import sys, bz2, ctypes, hashlib, ssl, zlib; print('%d %d' % sys.version_info[:2])"
NO_PYTHON2 = "there is no Python 2.7 on this machine (AUTOBAHN_PYTHON2 can name one)"
DEBIAN = "bullseye"
DEBIAN_PACKAGES = ["python2.7-minimal", "libpython2.7-minimal", "libpython2.7-stdlib", "libssl1.1", "libffi7"]
