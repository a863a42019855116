"""nginx in front of a server, with the configurations that contrib/nginx.conf and nginx-stream.conf recommend.

In      nginx of this machine, else Debian's packages, unpacked into the cache; the two files; openssl
Out     an nginx on loopback that ends TLS, with a certificate that peers are told to trust
Bounds  READY_SECONDS_MAX until it accepts; everything it writes lies in the run's folder
"""

import getpass
import grp
import os
import pathlib
import shutil
import socket
import subprocess
import time

import debian
from missing import Missing


class Installed:
    """An nginx that runs here, and a certificate for 127.0.0.1."""

    def __init__(self, cache, folder):
        self.cache, self.folder = cache, folder
        self.made = None

    def binary(self):
        """Looked for when it is first needed, for what is missing is said by exception."""
        if not self.made:
            own = shutil.which("nginx") or shutil.which("/usr/sbin/nginx")
            self.root = pathlib.Path("/") if own else debian.unpack(self.cache / "nginx", PACKAGES)
            self.made = own or str(self.root / "usr" / "sbin" / "nginx")
            done = subprocess.run([self.made, "-v"], capture_output=True, text=True)
            if done.returncode != 0:
                raise Missing(f"nginx does not run here: {done.stderr.strip()}")
            make_certificate(self.folder)
        return self.made

    def version(self):
        return (
            subprocess.run([self.binary(), "-v"], capture_output=True, text=True)
            .stderr.split("/")[-1]
            .strip()
        )

    def trust(self):
        """Variables by which OpenSSL, Go and Node take the certificate."""
        certificate = str(self.folder / "certificate.pem")
        return {"SSL_CERT_FILE": certificate, "NODE_EXTRA_CA_CERTS": certificate}

    def stream_module(self):
        """The line that loads it, none if it is built in."""
        built = subprocess.run([self.binary(), "-V"], capture_output=True, text=True).stderr
        if "--with-stream " in f"{built} ":
            return ""
        module = self.root / "usr" / "lib" / "nginx" / "modules" / "ngx_stream_module.so"
        if not module.exists():
            raise Missing(f"nginx is here without its stream module (Debian: {PACKAGES[1]})")
        return f"load_module {module};\n"

    def in_front_of(self, port, folder, form):
        # A port that is free now may be taken before nginx binds it.
        for attempt in range(ATTEMPTS):
            front = Front(self, port, folder / str(attempt), form)
            if front.is_ready():
                return front
            front.stop()
        raise Missing(f"nginx does not start: {front.last_words()}")


class Front:
    """One nginx."""

    def __init__(self, installed, upstream_port, folder, form):
        folder.mkdir(parents=True)
        self.folder = folder
        self.port = free_port()
        binary = installed.binary()
        (folder / "site.conf").write_text(form.site(upstream_port, self.port, installed.folder, folder))
        (folder / "nginx.conf").write_text(main_part(folder, form.block(installed, folder)))
        with (folder / "said").open("wb") as sink:
            self.child = subprocess.Popen(
                [binary, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=sink,
            )

    def is_ready(self):
        deadline_s = time.monotonic() + READY_SECONDS_MAX
        while self.child.poll() is None and time.monotonic() < deadline_s:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
            except OSError:
                time.sleep(0.02)
            else:
                # Whoever else took the port would have made nginx end.
                return self.child.poll() is None
        return False

    def stop(self):
        if self.child.poll() is None:
            self.child.terminate()
            try:
                self.child.wait(READY_SECONDS_MAX)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()

    def last_words(self):
        logs = [self.folder / "error.log", self.folder / "said"]
        return " ".join(log.read_text("utf-8", "replace").strip() for log in logs if log.exists())[-1000:]


class Form:
    """One of the files that contrib recommends, and what is replaced in it. Each of that must be there, once."""

    def __init__(self, name, upstream, block, changes):
        self.name, self.upstream, self.block, self.changes = name, upstream, block, changes

    def site(self, upstream_port, port, installed_folder, folder):
        changes = [
            *((old, new.format(folder=folder)) for old, new in self.changes),
            (f"server {self.upstream};", f"server 127.0.0.1:{upstream_port};"),
            ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
            ("/etc/ssl/rt.example.org.pem", str(installed_folder / "certificate.pem")),
            ("/etc/ssl/rt.example.org.key", str(installed_folder / "key.pem")),
        ]
        text = (CONTRIB / self.name).read_text()
        for old, new in changes:
            if text.count(old) != 1:
                raise Missing(
                    f"contrib/{self.name} has {text.count(old)} times {old!r}: mend scripts/interop.d/nginx.py"
                )
            text = text.replace(old, new)
        return text


def main_part(folder, block):
    # Workers of an nginx that root starts would else be nobody, who may not enter the folder.
    user = f"user {getpass.getuser()} {grp.getgrgid(os.getgid()).gr_name};\n" if os.geteuid() == 0 else ""
    return (
        f"{block}daemon off;\n{user}pid {folder}/pid;\nworker_processes 1;\n"
        f"events {{ worker_connections 256; }}\n"
    )


def http_block(_installed, folder):
    paths = "".join(
        f"    {name}_temp_path {folder}/{name};\n"
        for name in ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
    )
    return f"http {{\n{paths}    include {folder}/site.conf;\n}}\n"


def stream_block(installed, folder):
    return f"{installed.stream_module()}stream {{\n    include {folder}/site.conf;\n}}\n"


def make_certificate(folder):
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=interop",
        "-addext",
        "subjectAltName=IP:127.0.0.1,DNS:localhost",
        "-keyout",
        str(folder / "key.pem"),
        "-out",
        str(folder / "certificate.pem"),
    ]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        raise Missing(f"no certificate without openssl: {error}") from None


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


# Shorter than the silences of the tests and longer than the server's pings, as it is in earnest.
HTTP = Form(
    "nginx.conf",
    "127.0.0.1:8080",
    http_block,
    [
        ("server_name rt.example.org;", "server_name 127.0.0.1;"),
        ("proxy_read_timeout 60s;", "proxy_read_timeout 1s;"),
        ("access_log /var/log/nginx/fanwire.log ", "access_log {folder}/access.log "),
    ],
)
STREAM = Form("nginx-stream.conf", "127.0.0.1:8081", stream_block, [("proxy_timeout 60s;", "proxy_timeout 1s;")])

CONTRIB = pathlib.Path(__file__).resolve().parents[2] / "contrib"
PACKAGES = ["nginx", "libnginx-mod-stream"]
READY_SECONDS_MAX = 10
ATTEMPTS = 3
