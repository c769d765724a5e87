"""Checks every import of the sources against the layers of the architecture: `make lint`.

A target may import targets of lower layers, and only the packages and C modules that it owns. Also refuses what the house style
forbids and the compiler allows.
"""

import pathlib
import re
import sys

LAYER = {
    "NeedletailCore": 1,
    "NeedletailVectors": 2, "NeedletailStorage": 2, "NeedletailHTTP2": 2, "NeedletailCluster": 2, "NeedletailQuery": 2,
    "NeedletailTelemetry": 2, "NeedletailJSON": 2, "NeedletailCertificates": 2, "NeedletailSyntheticSets": 2,
    "NeedletailIndex": 3, "NeedletailGRPC": 3, "NeedletailMetadata": 3, "NeedletailBackup": 3,
    "NeedletailSecurity": 3,
    "NeedletailAPI": 4, "NeedletailAdmin": 4, "NeedletailShard": 4, "NeedletailTuning": 4, "NeedletailScale": 3,
    "NeedletailWorker": 5, "NeedletailCoordinator": 5, "NeedletailClient": 5, "NeedletailEtcd": 5,
    "NeedletailLoad": 6, "NeedletailFlags": 6,
    "needletail": 7, "needletail-coordinator": 7, "needletail-shard": 7, "needletail-bench": 7, "needletail-load": 7,
}
# Beyond the layers: what a target must not see although it lies below.
FORBIDDEN = {
    "NeedletailIndex": {"NeedletailStorage", "NeedletailHTTP2"},
    "NeedletailGRPC": {"NeedletailStorage", "NeedletailVectors"},
    "NeedletailMetadata": {"NeedletailVectors"},
    "NeedletailBackup": {"NeedletailVectors", "NeedletailHTTP2", "NeedletailCluster"},
    "NeedletailAPI": {"NeedletailIndex", "NeedletailStorage", "NeedletailVectors"},
    "NeedletailShard": {"NeedletailGRPC", "NeedletailHTTP2", "NeedletailCluster"},
    "NeedletailTuning": {"NeedletailGRPC", "NeedletailStorage", "NeedletailHTTP2", "NeedletailCluster"},
    "NeedletailCoordinator": {"NeedletailShard", "NeedletailIndex", "NeedletailStorage", "NeedletailVectors"},
    "NeedletailEtcd": {"NeedletailShard", "NeedletailIndex", "NeedletailStorage", "NeedletailVectors"},
    "NeedletailClient": {"NeedletailShard", "NeedletailIndex", "NeedletailStorage", "NeedletailVectors"},
    # It judges the cluster from outside, and shares no code with what it judges.
    "NeedletailLoad": {
        "NeedletailShard", "NeedletailIndex", "NeedletailStorage", "NeedletailVectors", "NeedletailWorker", "NeedletailCoordinator", "NeedletailCluster",
    },
}
OWNER = {  # third-party and C modules, and who may import them
    "CNghttp2": {"NeedletailHTTP2"},
    "CProtobufC": {"NeedletailAPI", "NeedletailEtcd"}, "CNeedletailMessages": {"NeedletailAPI", "NeedletailEtcd"},
    "CLMDB": {"NeedletailStorage"}, "CNeedletailChecksum": {"NeedletailStorage"},
    "CZlib": {"NeedletailGRPC"},
    "CNeedletailKernels": {"NeedletailVectors"},
    "NIOSSL": {"NeedletailHTTP2"}, "NIOTLS": {"NeedletailHTTP2"},
    "X509": {"NeedletailHTTP2", "NeedletailCertificates"}, "SwiftASN1": {"NeedletailHTTP2", "NeedletailCertificates"},
    "NIOPosix": {"NeedletailHTTP2", "NeedletailGRPC", "NeedletailBackup", "needletail-bench"},
    "AsyncHTTPClient": {"NeedletailBackup"}, "NIOHTTP1": {"NeedletailBackup"},
    "Crypto": {"NeedletailBackup", "NeedletailCertificates", "NeedletailSecurity"}, "JWTKit": {"NeedletailSecurity"},
    "NIOCore": {"NeedletailAdmin", "NeedletailCoordinator", "NeedletailBackup", "NeedletailEtcd", "NeedletailHTTP2", "NeedletailGRPC", "NeedletailAPI", "NeedletailLoad", "needletail-bench"},
    "Histogram": {"NeedletailLoad"}, "Yams": {"NeedletailLoad", "NeedletailFlags"},
    "Hummingbird": {"NeedletailAdmin"}, "HummingbirdCore": {"NeedletailAdmin"}, "HTTPTypes": {"NeedletailAdmin"},
    "UnixSignals": {"NeedletailFlags", "needletail", "needletail-coordinator", "needletail-shard", "needletail-load"},
    "ServiceLifecycle": {"NeedletailWorker", "NeedletailCoordinator", "needletail", "needletail-coordinator", "needletail-shard"},
    "ArgumentParser": {"NeedletailFlags", "needletail", "needletail-coordinator", "needletail-shard", "needletail-bench", "needletail-load"},
}
IMPORT = re.compile(r"^\s*(?:@\w+\s+)*(?:public |package |internal |private |fileprivate )?import (?:struct |class |enum |func )?([A-Za-z_0-9]+)", re.M)
problems = []
for path in sorted(pathlib.Path("Sources").rglob("*.swift")):
    target = path.parts[1]
    text = path.read_text()
    for name in IMPORT.findall(text):
        if name in LAYER:
            lower = LAYER[name] < LAYER[target]
            if not lower or name in FORBIDDEN.get(target, ()):
                problems.append(f"{path}: {target} must not import {name}")
        elif name in OWNER and target not in OWNER[name]:
            problems.append(f"{path}: {name} belongs to {', '.join(sorted(OWNER[name]))}")
        if target == "NeedletailCore":
            problems.append(f"{path}: NeedletailCore imports nothing, not {name}")
    if "Task.detached" in text:
        problems.append(f"{path}: no detached tasks")
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > 160:
            problems.append(f"{path}:{number}: line of {len(line)} characters")
print("\n".join(problems) or "lint: every import points down")
sys.exit(1 if problems else 0)
