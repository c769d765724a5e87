#!/usr/bin/env bash
# Puts Needletail on this host, or a new version of it, as systemd services. Run as root.
#
#     install.sh --address 10.0.0.1 --hosts 10.0.0.1,10.0.0.2,10.0.0.3 --zone rack-1 --certificates tls     on a host that has neither settings nor data yet
#     install.sh                                                                                            a new version: programs and units, no settings
#
#   --address ADDRESS        this host's, at which the others reach it
#   --hosts ADDRESS,…        the hosts of etcd and of coordinators, the same on every host
#   --roles ROLE,…           of etcd, coordinator, shard (default: all three)
#   --zone NAME              what may fail together with this host's worker
#   --memory-limit SIZE      what the replicas of this host's worker may take, as 48GiB (default: the machine's)
#   --certificates FOLDER    where `needletail certificates` put authority.pem, client-authority.pem and, for each role, ROLE-ADDRESS.pem and .key:
#                            everything is encrypted with them, etcd included
#   --insecure               instead: nothing is encrypted, and everybody on the network can read and write all data
#   --binaries FOLDER        where the programs are (default: .build/release of the project)
#
# Settings that exist are left alone. Services are enabled, not started. With DESTDIR everything goes below that folder, and no service is
# enabled.
set -euo pipefail

fail() { echo "install.sh: $*" >&2; exit 1; }

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=${DESTDIR:-}
address="" hosts="" certificates="" insecure="" roles=etcd,coordinator,shard zone="" memory="" binaries=${NEEDLETAIL_BIN:-$here/../../.build/release}
while (($# > 0)); do
    case $1 in
        --help) sed -n '2,/^set /{/^#/s/^# \{0,1\}//p}' "${BASH_SOURCE[0]}"; exit 0 ;;
        --insecure) insecure=yes; shift; continue ;;
        --address | --hosts | --roles | --zone | --memory-limit | --certificates | --binaries) (($# > 1)) || fail "$1 wants a value" ;;&
        --address) address=$2 ;;
        --hosts) hosts=$2 ;;
        --roles) roles=$2 ;;
        --zone) zone=$2 ;;
        --memory-limit) memory=$2 ;;
        --certificates) certificates=$2 ;;
        --binaries) binaries=$2 ;;
        *) fail "what is $1? See --help" ;;
    esac
    shift 2
done
for role in ${roles//,/ }; do
    [[ $role =~ ^(etcd|coordinator|shard)$ ]] || fail "no such role: $role; there are etcd, coordinator and shard"
done
[[ -n $root || $(id -u) == 0 ]] || fail "run it as root"
[[ -n $address && -n $hosts || -z $address$hosts ]] || fail "--address and --hosts go together"
# Words of the settings' files; nothing that a shell or systemd would take apart.
for word in "$address" "$hosts" "$zone" "$memory"; do
    [[ $word =~ ^[A-Za-z0-9.,:_-]*$ ]] || fail "letters, digits, dots, commas and dashes only, not: $word"
done

[[ -z $address || -n $certificates && -z $insecure || -z $certificates && -n $insecure ]] || fail "say --certificates FOLDER, or --insecure"

programs=(needletail needletail-coordinator needletail-shard)
for program in "${programs[@]}"; do
    [[ -x $binaries/$program ]] || fail "$binaries/$program is missing; make build, or say --binaries"
    libraries=$(ldd "$binaries/$program")
    # The units see no home folders, where Swift often is, and other hosts have no Swift at all.
    if grep -qE 'libswiftCore.*(not found|=> (/home|/root)/)' <<<"$libraries"; then
        fail "$program needs a Swift runtime that the service cannot reach; build with: swift build -c release --static-swift-stdlib"
    fi
    missing=$(awk '/not found/ {print $1}' <<<"$libraries")
    [[ -z $missing ]] || fail "$program needs ${missing//$'\n'/, }; on Debian: apt-get install libnghttp2-14 libprotobuf-c1 liblmdb0 zlib1g libstdc++6"
done

# Beside what is there and then in its place: a program that runs goes on with its own file.
place() {
    install -D -m "$1" "$2" "$root$3.new"
    mv "$root$3.new" "$root$3"
}

# Lines for a file of settings on the standard input.
settle() {
    if [[ -e $root$1 ]]; then
        cat >/dev/null
        echo "kept $1"
    else
        install -D -m 644 /dev/stdin "$root$1"
        echo "made $1"
    fi
}

# The hosts with a port each, and commas between them.
at_port() { echo "${hosts//,/":$1,"}:$1"; }

has() { [[ ,$roles, == *,$1,* ]]; }

for program in "${programs[@]}"; do place 755 "$binaries/$program" "/usr/local/bin/$program"; done
place 755 "$here/../wait-in-sync.sh" /usr/local/bin/needletail-wait-in-sync
place 644 "$here/sysusers.conf" /usr/lib/sysusers.d/needletail.conf
for role in coordinator shard; do
    if has $role; then place 644 "$here/needletail-$role.service" "/etc/systemd/system/needletail-$role.service"; fi
done

scheme=http etcd_lines="" coordinator_flags=--insecure shard_flags=--insecure
# Where the files of a role go, readable by its user alone.
at=/etc/needletail/tls etcd_at=/etc/etcd-needletail
if [[ -n $certificates ]]; then
    scheme=https
    # The user of the services; below DESTDIR there is none.
    owner() { [[ -n $root ]] || chown "$1" "$root$2"; }
    [[ -n $root ]] || systemd-sysusers "$here/sysusers.conf"
    for role in ${roles//,/ }; do
        [[ $role == etcd ]] && folder=$etcd_at user=etcd || folder=$at user=needletail
        [[ -r $certificates/authority.pem && -r $certificates/$role-$address.pem && -r $certificates/$role-$address.key ]] ||
            fail "$certificates has no authority.pem, $role-$address.pem or $role-$address.key; needletail certificates makes them"
        install -d -m 755 "$root$folder"
        place 644 "$certificates/authority.pem" "$folder/authority.pem"
        place 644 "$certificates/$role-$address.pem" "$folder/$role.pem"
        place 400 "$certificates/$role-$address.key" "$folder/$role.key"
        owner "$user" "$folder/$role.key"
    done
    if has coordinator; then place 644 "$certificates/client-authority.pem" "$at/client-authority.pem"; fi
    coordinator_flags="--tls-certificate $at/coordinator.pem --tls-key $at/coordinator.key --tls-authority $at/authority.pem --client-authority $at/client-authority.pem"
    coordinator_flags+=" --etcd-authority $at/authority.pem --etcd-certificate $at/coordinator.pem --etcd-key $at/coordinator.key"
    shard_flags="--tls-certificate $at/shard.pem --tls-key $at/shard.key --tls-authority $at/authority.pem"
    for way in "" PEER_; do
        etcd_lines+=$'\n'"Environment=ETCD_${way}CERT_FILE=$etcd_at/etcd.pem ETCD_${way}KEY_FILE=$etcd_at/etcd.key"
        etcd_lines+=$'\n'"Environment=ETCD_${way}TRUSTED_CA_FILE=$etcd_at/authority.pem ETCD_${way}CLIENT_CERT_AUTH=true"
    done
fi

if [[ -n $address ]]; then
    if has etcd; then
        members=""
        for host in ${hosts//,/ }; do members+=${members:+,}etcd-$host=$scheme://$host:2380; done
        # The data folder is not that of Debian's service, which begins a cluster of its own as soon as it is installed.
        settle /etc/systemd/system/etcd.service.d/needletail.conf <<END
[Service]
Environment=ETCD_NAME=etcd-$address
Environment=ETCD_DATA_DIR=/var/lib/etcd/needletail
Environment=ETCD_LISTEN_CLIENT_URLS=$scheme://$address:2379
Environment=ETCD_ADVERTISE_CLIENT_URLS=$scheme://$address:2379
Environment=ETCD_LISTEN_PEER_URLS=$scheme://$address:2380
Environment=ETCD_INITIAL_ADVERTISE_PEER_URLS=$scheme://$address:2380
Environment=ETCD_INITIAL_CLUSTER=$members
Environment=ETCD_INITIAL_CLUSTER_TOKEN=needletail
Environment=ETCD_MAX_REQUEST_BYTES=33554432$etcd_lines
END
    fi
    if has coordinator; then
        settle /etc/needletail/coordinator.env <<END
# Of needletail-coordinator on this host; its --help explains them. After a change: systemctl restart needletail-coordinator
METADATA=etcd://$(at_port 2379)
LISTEN=$address:7460
ADMIN=7461
# More flags, as: --slow-query 100ms --log-format json
OPTIONS=$coordinator_flags
END
    fi
    if has shard; then
        settle /etc/needletail/shard.env <<END
# Of needletail-shard on this host; its --help explains them. After a change: systemctl restart needletail-shard
LISTEN=$address:7470
COORDINATORS=$(at_port 7460)
ADMIN=7471
# More flags, as: --weight 2 --log-format json
OPTIONS=${zone:+--zone $zone }${memory:+--memory-limit $memory }$shard_flags
END
    fi
fi

if [[ -z $root ]]; then
    systemd-sysusers
    systemctl daemon-reload
    for role in ${roles//,/ }; do
        [[ $role == etcd ]] && service=etcd || service=needletail-$role
        systemctl enable "$service"
    done
fi
