#!/usr/bin/env bash
# For compose.yaml: makes the certificates of its services. The authority with its keys stays in the folder $1; what the services need comes into $2, keys of
# our programs as files of the user $3. The authority is made once, the certificates anew whenever this runs: the processes read new ones by themselves.
set -euo pipefail

authority=${1:?the folder of the authority}
certificates=${2:?the folder of what services need}
user=${3:-10001:10001}

[[ -e $authority/authority.pem ]] || needletail certificates init --folder "$authority"

node() {
    local name=$1 hosts=() host
    shift
    for host in localhost 127.0.0.1 "$name"-{1..3}; do hosts+=(--host "$host"); done
    needletail certificates node "$name" --folder "$authority" "${hosts[@]}" "$@"
}

# Each file gets its name when it is whole and belongs to whom it should.
put() {
    cp --preserve=mode "$authority/$2" "$certificates/.$2"
    chown "$1" "$certificates/.$2"
    mv "$certificates/.$2" "$certificates/$2"
}

node etcd
node coordinator --role coordinator
node shard --role shard
for file in authority.pem client-authority.pem etcd.key etcd.pem; do put "$(id -u):$(id -g)" "$file"; done
for file in {coordinator,shard}.{key,pem}; do put "$user" "$file"; done
