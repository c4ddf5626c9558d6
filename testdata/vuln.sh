#!/bin/sh
# Known vulnerabilities in what is linked in, by govulncheck. The database comes as the Go
# module it is published in, so that it is there wherever modules are.
set -eu
cd "$(dirname "$0")/.."
go="${GO:-go}"
module=golang.org/x/vulndb@latest
dir=$("$go" mod download -json "$module" | sed -n 's/^[[:space:]]*"Dir": "\(.*\)",\{0,1\}$/\1/p')
db=$(mktemp -d)
trap 'rm -rf "$db"' EXIT
"$go" run "golang.org/x/vulndb/cmd/indexdb@${dir##*@}" -vulns "$dir/data/osv" -out "$db"
"$go" run golang.org/x/vuln/cmd/govulncheck@latest -db "file://$db" ./...
