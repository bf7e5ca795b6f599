# Every target of the project. `make help` lists them; `make run` and `make test` work in a fresh clone.
GO       ?= go
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
COMMIT   ?= $(shell git rev-parse --short HEAD 2>/dev/null)
LDFLAGS  := -s -w -X main.version=$(VERSION) -X main.commit=$(COMMIT)
FUZZTIME ?= 10s
# How long the server with a thousand shards runs in make stress.
STRESS_FOR ?= 30m
# Where goroutines meet: the packages that make test runs under the race detector too.
RACE     := $(wildcard internal/lane internal/coordinator internal/objectstore internal/shardlog internal/journal internal/stream internal/wire internal/metrics internal/server internal/api internal/listener internal/certificate internal/ratelimit internal/audit internal/auth)
PLATFORMS := linux/amd64 linux/arm64 darwin/arm64 windows/amd64

# What the Java clients take. A machine without is told so, and skips their tests.
jdk = command -v mvn >/dev/null && test "$$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')" -ge 17 2>/dev/null
# Where a package registry is not reached the tests of its clients are skipped; a CI run must have them.
unreached = { echo "compat-setup: the $(1) clients could not be installed; their tests are skipped"; test -z "$$CI"; }

.DEFAULT_GOAL := help
.PHONY: run build test check vet fmt lint unit race generate models fuzz stress bench bench-quick microbench cross compat compat-setup clean help

run: ## start headrace dev on port 4566
	$(GO) run -ldflags '$(LDFLAGS)' ./cmd/headrace dev
build: ## build bin/headrace
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o bin/ ./cmd/headrace
test: check compat-setup unit race ## everything that must pass: check, all tests with real clients, the race detector
check: lint vet ## the house rules and go vet
vet: ## go vet
	$(GO) vet ./...
fmt: ## format every Go file
	$(GO) fmt ./...
lint: ## the house rules of internal/lint, gofmt among them
	$(GO) test ./internal/lint
unit: ## all Go tests in random order, end-to-end and client tests among them
	@test "$$(id -u)" = 0 && command -v mkfs.ext4 >/dev/null || echo "unit: power cuts and full disks are skipped: mounting a file system takes root and mkfs.ext4"
	$(GO) test -shuffle=on -timeout 8m ./...
race: ## tests of the concurrent packages under the race detector (needs a C compiler)
	@if command -v "$$($(GO) env CC)" >/dev/null; then CGO_ENABLED=1 $(GO) test -race -shuffle=on -timeout 8m $(RACE:%=./%/...); else echo "race: skipped, no C compiler"; fi
generate: ## write generated code and COMPATIBILITY.md again; needs no network
	$(GO) run ./internal/gen/awsgen generate
	$(GO) run ./internal/gen/compatgen
models: ## refresh the stored AWS service models; the one step that needs the network
	$(GO) run ./internal/gen/awsgen models
fuzz: ## run every fuzz target for FUZZTIME
	@grep -rE --include='*_test.go' '^func Fuzz[A-Za-z0-9_]+' cmd internal | sed -E 's|^(.*)/[^/]+:func (Fuzz[A-Za-z0-9_]+).*|\1 \2|' | while read -r dir target; do echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "./$$dir" </dev/null || exit 1; done
stress: ## STRESS_FOR with a thousand shards, minutes of crashes, hundreds of times as many histories, the race target ten times over
	STRESS_FOR=$(STRESS_FOR) $(GO) test -count=1 -timeout 12h -v ./e2e/stress
	CRASH_FOR=5m $(GO) test -count=1 -timeout 60m -v ./e2e/crash
	LANE_SEEDS=50000 HISTORIES=20000 TWINS=500 STREAM_TWINS=500 FAULT_STEP=4 FLIPS=2000 $(GO) test -count=1 -timeout 4h ./internal/lane/disk ./internal/shardlog ./internal/stream ./internal/check
	CGO_ENABLED=1 $(GO) test -race -shuffle=on -count=10 -timeout 60m $(RACE:%=./%/...)
bench: build ## the scenarios of bench/ and one table of them all: about 70 minutes on a quiet machine
	$(GO) run ./bench
bench-quick: build ## one short round of every scenario, which says whether they work: about 6 minutes
	$(GO) run ./bench -quick
microbench: ## the Go benchmarks beside the hot paths
	$(GO) test -run '^$$' -bench . -benchmem ./internal/...
cross: ## compile for every platform served
	@for p in $(PLATFORMS); do echo "$$p"; CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GO) build ./... || exit 1; done
compat: compat-setup ## the main job with real AWS clients only
	$(GO) test -count=1 -v ./compat/...
compat-setup: $(if $(wildcard compat/prometheus/go.mod),build/promcheck) $(if $(wildcard compat/requirements.txt),build/venv/.installed) $(if $(wildcard compat/js/package-lock.json),compat/js/node_modules/.installed) $(if $(wildcard compat/java/pom.xml),build/java/.installed) ## install the pinned clients
build/promcheck: compat/prometheus/go.mod compat/prometheus/go.sum compat/prometheus/main.go
	@cd compat/prometheus && $(GO) build -o ../../$@ . || $(call unreached,Prometheus)
build/venv/.installed: compat/requirements.txt
	python3 -m venv build/venv || { echo "compat-setup: needs Python 3 with its venv module (Debian: python3-venv)"; exit 1; }
	@build/venv/bin/python -m pip install --quiet --disable-pip-version-check -r $< && touch $@ || $(call unreached,Python)
compat/js/node_modules/.installed: compat/js/package-lock.json
	@npm ci --prefix compat/js --no-audit --no-fund && touch $@ || $(call unreached,JavaScript)
build/java/.installed: compat/java/pom.xml
	@if $(jdk); then rm -rf build/java; mvn --quiet --batch-mode -Dstyle.color=never -f $< dependency:copy-dependencies -DoutputDirectory='$(CURDIR)/build/java' && touch $@ || echo "compat-setup: the Java clients could not be installed; their tests are skipped"; else echo "compat-setup: no JDK 17 with Maven here; the tests of the Java clients are skipped"; fi
clean: ## remove everything that make builds
	rm -rf bin build compat/js/node_modules
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
