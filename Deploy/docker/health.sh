#!/usr/bin/env bash
# Whether the process whose admin port is $1 lives, for images that have neither curl nor wget. Answers like /healthz, not /readyz: what waits for
# others must not be restarted for it.
set -euo pipefail

exec 3<>"/dev/tcp/127.0.0.1/${1:?which port}"
printf 'GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r -t 4 -u 3 _ code _
# 400: one that speaks TLS lives, too, when it says so.
[[ $code == 200 || $code == 400 ]]
