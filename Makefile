# The verbs: run, build, test, lint, cross, vuln, bench, bench-server, bench-store, fuzz, rules.
# `make run` needs Go alone; `make test` installs what its real peers need.

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -X main.version=$(VERSION)
FUZZTIME ?= 60s

.PHONY: run build test lint cross vuln bench bench-server bench-store fuzz rules clean

build:
	$(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/sipway ./cmd/sipway

# Two demo users on the embedded store, and what to type into a softphone.
run: build
	@sh testdata/demo/run.sh

# The real peers come last and alone, and are never answered from the test cache, which
# does not see their pages and scenarios.
test: lint cross vuln
	sh testdata/install.sh
	$(GO) test -race -timeout 15m $$($(GO) list ./... | grep -v /interop$$)
	$(GO) test -race -timeout 15m -count=1 ./interop

lint:
	@out=$$(gofmt -l $$(git ls-files '*.go')); [ -z "$$out" ] || { echo "gofmt: $$out"; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

# It builds for 32 bits and without Linux's system calls, too.
cross:
	@set -e; for target in linux/arm darwin/arm64 windows/amd64; do \
		echo "build for $$target"; \
		GOOS=$${target%/*} GOARCH=$${target#*/} $(GO) build -o /dev/null ./cmd/sipway; \
	done

# Known vulnerabilities in what is linked in. What our code calls of a module fails; Go's own are
# a warning, as the toolchain is the machine's. Needs the module proxy.
vuln:
	$(GO) run ./vuln

# Output for benchstat, then the ratios of the parser to sipgo's and to a plain line scan.
bench:
	@mkdir -p bin
	$(GO) test -run '^$$' -bench 'Parse|Forward' -benchmem -count 5 -benchtime 200ms ./sip > bin/bench.txt
	$(GO) tool benchstat -col /by -row .name,/kind bin/bench.txt
	$(GO) test -run '^$$' -bench Ratio ./sip

# CPU per operation beside Kamailio's; installs nothing: apt-get install kamailio kamailio-websocket-modules
bench-server: build
	$(GO) run ./bench/server -sipway bin/sipway

# Refreshes per second that are durable, and a million bindings; installs nothing.
bench-store:
	$(GO) run ./bench/store

fuzz:
	@set -e; for pkg in $$($(GO) list ./...); do \
		for target in $$($(GO) test -list '^Fuzz' $$pkg | grep '^Fuzz' || true); do \
			echo "== $$pkg $$target"; \
			$(GO) test -run '^$$' -fuzz "^$$target$$" -fuzztime $(FUZZTIME) $$pkg; \
		done; done

# Renews the table in README.md, the rules of RFC 3261 §16 with who obeys and who proves them, and
# prints where each RFC rule is obeyed: "RFC nnnn §x.y  file:line".
rules:
	$(GO) run ./docs/rules
	@git grep -noE 'RFC [0-9]+ §[0-9]+(\.[0-9]+)*' -- '*.go' ':!*_test.go' \
		| awk -F: '{print $$3 "\t" $$1 ":" $$2}' | sort -t' ' -k2,2n -k3,3V -u

clean:
	rm -rf bin
