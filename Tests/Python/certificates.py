"""Certificates for tests, good ones and bad ones, by Python's `cryptography`."""

import datetime
import ipaddress
import ssl
import urllib.request

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Pair:
    """A certificate and its key, and the files they are in."""

    def __init__(self, certificate, key, folder, name, others=()):
        self.certificate, self.key = certificate, key
        self.file, self.key_file = folder / f"{name}.pem", folder / f"{name}.key"
        self.write(others)

    def write(self, others=()):
        """`others`: further certificates in the same file."""
        # Into place at once, as a careful program does.
        for file, content in [(self.key_file, self.key_pem), (self.file, self.pem + b"".join(one.pem for one in others))]:
            draft = file.with_suffix(".draft")
            draft.write_bytes(content)
            draft.rename(file)

    @property
    def pem(self):
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    @property
    def key_pem(self):
        return self.key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())


class Authority:
    """Signs what it is asked to. `folder` is where the files go."""

    def __init__(self, folder, name="authority"):
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.name = folder, name
        self.renew()

    def renew(self, others=()):
        """Another authority of the same name, with `others` in its file from the first moment: somebody may read that."""
        key = ec.generate_private_key(ec.SECP256R1())
        named = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, self.name)])
        certificate = (
            x509.CertificateBuilder().subject_name(named).issuer_name(named).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now() - DAY).not_valid_after(now() + 1000 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False).sign(key, hashes.SHA256()))
        self.pair = Pair(certificate, key, self.folder, self.name, others)

    @property
    def file(self):
        return self.pair.file

    def issue(self, name, hosts=("127.0.0.1", "localhost"), uris=(), begin=-DAY, end=300 * DAY, usages=("server", "client"), self_signed=False, key=None):
        key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        issuer, signer = (subject, key) if self_signed else (self.pair.certificate.subject, self.pair.key)

        def general(host):
            try:
                return x509.IPAddress(ipaddress.ip_address(host))
            except ValueError:
                return x509.DNSName(host)

        names = [general(host) for host in hosts] + [x509.UniformResourceIdentifier(uri) for uri in uris]
        builder = (
            x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now() + begin).not_valid_after(now() + end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
            .add_extension(x509.ExtendedKeyUsage(
                [{"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}[one] for one in usages]), critical=False))
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return Pair(builder.sign(signer, hashes.SHA256()), key, self.folder, name)

    def node(self, role, name=None, **rest):
        return self.issue(name or role, uris=[f"needletail://{role}"], **rest)


class Security:
    """What a cluster of a test needs: an authority of nodes, one of users, and a pair for each role."""

    def __init__(self, folder):
        self.nodes, self.users = Authority(folder, "authority"), Authority(folder, "client-authority")
        self.pairs = {role: self.nodes.node(role) for role in ("coordinator", "shard")}
        self.user = self.users.issue("alice", hosts=(), usages=("client",))

    def flags(self, role):
        pair = self.pairs[role]
        flags = ["--tls-certificate", str(pair.file), "--tls-key", str(pair.key_file), "--tls-authority", str(self.nodes.file)]
        return [*flags, "--client-authority", str(self.users.file)] if role == "coordinator" else flags

    def credentials(self, pair=None):
        """For Python's client, which trusts what is in the authority's file now."""
        root = self.nodes.file.read_bytes()
        return grpc.ssl_channel_credentials(root, pair.key_pem, pair.pem) if pair else grpc.ssl_channel_credentials(root)


def context(security, pair=None):
    """For Python's ssl: trusts the nodes' authority, and shows a pair if one is given."""
    made = ssl.create_default_context(cafile=security.nodes.file)
    if pair:
        made.load_cert_chain(pair.file, pair.key_file)
    return made


def scraped(process, security, name, **labels):
    """A metric's value, by HTTPS."""
    with urllib.request.urlopen(f"https://127.0.0.1:{process.admin_port}/metrics", context=context(security), timeout=10) as answer:
        text = answer.read().decode()
    wanted = name + ("{" + ",".join(f'{key}="{value}"' for key, value in labels.items()) + "}" if labels else "")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if line.startswith(wanted + " "))
