"""A certificate authority of the test's own, and a TLS door in front of a scripted model server.

    authority = Authority(directory)
    door = TlsDoor(upstream.port, authority.certificate("127.0.0.1"))
    {"api_base": door.url + "/v1", "ssl_verify": str(authority.path)}

Certificates are made with openssl, as nothing in Python's library makes them.
"""

from __future__ import annotations

import select
import socket
import ssl
import subprocess
import threading
import warnings
from pathlib import Path

from .waiting import PATIENCE_SEC

DAY = {"today": ("", ""), "expired": ("20200101000000Z", "20200201000000Z")}
SETTINGS = """
[ca]
default_ca = test
[test]
dir = {directory}
database = {directory}/index.txt
new_certs_dir = {directory}
rand_serial = yes
default_md = sha256
policy = any
copy_extensions = copy
default_days = 30
unique_subject = no
[any]
commonName = supplied
"""


def _openssl(*args: str) -> None:
    subprocess.run(["openssl", *args], check=True, capture_output=True, timeout=PATIENCE_SEC)


class Certificate:
    def __init__(self, chain: Path, key: Path) -> None:
        self.chain = chain
        self.key = key


class Authority:
    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir(parents=True, exist_ok=True)
        self.path = directory / "authority.pem"
        self.key = directory / "authority.key"
        self.settings = directory / "openssl.cnf"
        self.settings.write_text(SETTINGS.format(directory=directory))
        (directory / "index.txt").touch()
        self.n_made = 0
        args = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        args += ["-days", "30", "-subj", "/CN=Test Authority", "-keyout", str(self.key)]
        _openssl(*args, "-out", str(self.path))

    def certificate(self, host: str, when: str = "today") -> Certificate:
        """For a host name or an address; when: a key of DAY."""
        self.n_made += 1
        stem = self.directory / f"server{self.n_made}"
        key, request, chain = (stem.with_suffix(s) for s in (".key", ".csr", ".pem"))
        name = f"{'IP' if host[0].isdigit() else 'DNS'}:{host}"
        args = ["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        args += ["-subj", f"/CN={host}", "-addext", f"subjectAltName={name}"]
        _openssl(*args, "-keyout", str(key), "-out", str(request))
        args = ["ca", "-batch", "-notext", "-config", str(self.settings), "-cert", str(self.path)]
        args += ["-keyfile", str(self.key), "-in", str(request), "-out", str(chain)]
        begin, end = DAY[when]
        if begin:
            args += ["-startdate", begin, "-enddate", end]
        _openssl(*args)
        return Certificate(chain, key)


class TlsDoor:
    """Takes TLS connections and passes what is inside on to a port of this machine, both ways."""

    def __init__(self, port: int, certificate: Certificate, is_old: bool = False) -> None:
        self.port = port
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if is_old:  # nothing newer than TLS 1.1, at a level at which OpenSSL still speaks that
            self.context.set_ciphers("ALL:@SECLEVEL=0")
            with warnings.catch_warnings():  # that it is deprecated is the point
                warnings.simplefilter("ignore", DeprecationWarning)
                self.context.options |= ssl.OP_NO_TLSv1_2 | ssl.OP_NO_TLSv1_3
        self.context.load_cert_chain(certificate.chain, certificate.key)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.number: int = self.listener.getsockname()[1]
        self.url = f"https://127.0.0.1:{self.number}"
        self.passed_bytes = 0  # of what clients said inside TLS
        self.threads = [threading.Thread(target=self._run, daemon=True)]
        self.threads[0].start()

    def _run(self) -> None:
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return  # closed
            thread = threading.Thread(target=self._serve, args=(sock,), daemon=True)
            self.threads.append(thread)
            thread.start()

    def _serve(self, sock: socket.socket) -> None:
        sock.settimeout(PATIENCE_SEC)
        try:
            tls = self.context.wrap_socket(sock, server_side=True)
        except (ssl.SSLError, OSError):
            sock.close()  # what is expected of a client that was not convinced
            return
        with tls, socket.create_connection(("127.0.0.1", self.port), PATIENCE_SEC) as inner:
            try:
                while self._pass_on(tls, inner):
                    pass
                tls.shutdown(socket.SHUT_RDWR)
            except (ssl.SSLError, OSError):
                pass  # one side left

    def _pass_on(self, tls: ssl.SSLSocket, inner: socket.socket) -> bool:
        """What has come from either side; False: one is done. In one thread, as two must not use an SSLSocket at once."""
        ready = [tls] if tls.pending() else select.select([tls, inner], [], [], PATIENCE_SEC)[0]
        if tls in ready:
            said = tls.recv(65536)
            self.passed_bytes += len(said)
            inner.sendall(said)
            return bool(said)
        answer = inner.recv(65536) if ready else b""
        tls.sendall(answer)
        return bool(answer)

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
