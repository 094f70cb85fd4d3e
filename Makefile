# The two commands that do everything on a fresh machine with Go: `make run` and `make test`.
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X main.version=$(VERSION)

.PHONY: run run-cluster build test bench compare regret reference screenshots clean

run: build ## start the demo: a slow API, Penstock in front of it, visitors
	./bin/scheduler demo

run-cluster: build ## three NATS servers and three Penstock nodes on loopback
	./scripts/run-cluster.sh

build: ## build bin/scheduler
	go build -trimpath -ldflags '$(LDFLAGS)' -o bin/scheduler ./cmd/scheduler

test: ## format, vet, staticcheck, import law, all tests of all modules
	./scripts/test.sh

bench: ## benchmarks of the hot path
	go test -run '^$$' -bench . -benchmem ./app/ ./cache/ ./scheduler/

compare: build ## the before/after table: a real trace against the demo API, without and with Penstock
	./bin/scheduler replay --compare

regret: ## what the tuner loses against the best fixed setting, and others' rules: writes docs/regret.md (minutes)
	go test -C bench ./regret -run Table -timeout 40m -v -args -full -write

screenshots: ## pictures of each page of a running demo, into docs/images/ (five minutes)
	go test -C e2e -run Screenshots -timeout 20m -count=1 . -args -screenshots ../docs/images

reference: build ## write docs/reference/ from the code
	mkdir -p docs/reference
	./bin/scheduler config reference > docs/reference/configuration.md
	./bin/scheduler config schema > docs/reference/penstock.schema.json

clean:
	rm -rf bin
