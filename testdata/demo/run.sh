#!/bin/sh
# Starts bin/sipway on the embedded store with two demo users. The database stays in
# sipway-demo.db between runs; remove it to begin anew.
set -eu
db="${SIPWAY_DEMO_DB:-sipway-demo.db}"
for user in alice bob; do
	# Exit code 4: the user exists already, from an earlier run.
	printf '%s-secret\n' "$user" |
		bin/sipway user add "$user@localhost" --password-stdin --store "sqlite:$db" >/dev/null 2>&1 ||
		[ $? -eq 4 ]
done
cat <<TEXT
sipway runs for the domain localhost, with two demo users. Type into a softphone:

              alice                     bob
  user name   alice                     bob
  domain      localhost                 localhost
  password    alice-secret              bob-secret

  browser (JsSIP, SIP.js)   ws://127.0.0.1:8080/
  desk phone or softphone   proxy 127.0.0.1:5060, UDP or TCP

Register both, then call sip:bob@localhost from alice. Ctrl-C ends it. Who is registered:
  bin/sipway reg list --store sqlite:$db

TEXT
exec bin/sipway serve --domain localhost --store "sqlite:$db"
