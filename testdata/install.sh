#!/bin/sh
# Installs what the end-to-end tests need and this machine has not: Chromium,
# SIPp, baresip, coturn, Kamailio and PostgreSQL from Debian's or Ubuntu's packages, the npm packages
# of the pages under test by their lock file. Where it may not install, it says in one
# line what to install, and fails.
set -eu
cd "$(dirname "$0")"

fail() {
	echo "install: $*" >&2
	exit 1
}

command -v node >/dev/null && command -v npm >/dev/null || fail "install Node.js 20 or newer with npm"

PATH=$PATH:/usr/sbin # where Debian keeps servers
packages=
need() { # program, package
	command -v "$1" >/dev/null || packages="$packages $2"
}
need chromium chromium
need sipp sip-tester
need baresip baresip-core
need svwar sipvicious
need nginx nginx-light
need haproxy haproxy
need turnserver coturn
need kamailio kamailio
if ! ls /usr/lib/*/kamailio/modules/tls.so >/dev/null 2>&1; then
	packages="$packages kamailio-tls-modules"
fi
# Debian keeps the server's programs outside of PATH.
if ! command -v initdb >/dev/null && ! ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1; then
	packages="$packages postgresql"
fi

if [ -n "$packages" ]; then
	if ! command -v apt-get >/dev/null; then
		fail "install the programs of these packages of Debian:$packages"
	elif [ "$(id -u)" = 0 ]; then
		sudo=
	elif sudo -n true 2>/dev/null; then
		sudo=sudo
	else
		fail "apt-get install --no-install-recommends$packages"
	fi
	$sudo apt-get -qq update
	# shellcheck disable=SC2086 # a list of words
	DEBIAN_FRONTEND=noninteractive $sudo apt-get -qq install -y --no-install-recommends $packages
fi

# npm ci empties node_modules first, so it runs only where the lock file differs
# from what it last installed.
cd browser
if ! cmp -s package-lock.json node_modules/.installed-lock.json; then
	npm ci --ignore-scripts --no-audit --no-fund
	cp package-lock.json node_modules/.installed-lock.json
fi
