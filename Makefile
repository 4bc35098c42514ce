# One command on a fresh Debian machine with Go: make test. Tools go to .cache/ (or $TIDEMARK_CACHE); a second run downloads nothing.
GO      ?= go
TOOLS    = $(GO) run ./internal/testenv/cmd/tools
VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
PKG     ?= ./...
# glue and hive bring their catalogs, with the libraries they take.
TAGS    ?=
# Packages whose tests are quick enough to run with the race detector each time.
RACE    ?= ./checkpoint/... ./merge/... ./lake/... ./ingest/... ./internal/config/... ./internal/fault/... ./internal/testenv/...
TESTFLAGS ?= -count=1

.PHONY: help build tools test test-race lint fmt bench demo stack stack-down soak clean

help: ## say what there is
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 14

build: ## ./bin/tidemark, one static program
	CGO_ENABLED=0 $(GO) build -trimpath -tags '$(TAGS)' -ldflags '-s -w -X main.version=$(VERSION)' -o bin/tidemark ./cmd/tidemark

tools: ## fetch every tool the tests and the lint use
	$(TOOLS) fetch

test: ## all tests, against real servers
	$(TOOLS) fetch test
	$(TOOLS) with-trino $(GO) test -p 2 -timeout 45m $(TESTFLAGS) $(PKG)
	$(GO) test $(TESTFLAGS) -tags glue,hive ./lake/catalog/open

test-race: ## the quick packages with the race detector
	$(TOOLS) fetch test race
	CGO_ENABLED=1 $(GO) test -race -p 2 -timeout 45m $(TESTFLAGS) $(RACE)

lint: ## golangci-lint, formatting included
	$(TOOLS) exec golangci-lint run ./...
	$(GO) vet -tags glue,hive ./lake/catalog/open ./cmd/tidemark

fmt: ## format everything (gofumpt)
	$(TOOLS) exec golangci-lint fmt ./...

bench: build ## the speed figures: needs a quiet machine
	$(TOOLS) fetch test
	$(GO) run ./internal/bench $(ARGS)

demo: build ## the main job in two minutes
	$(TOOLS) fetch test
	$(GO) run ./internal/demo $(ARGS)

soak: ## the proof tests for an hour: SOAK=8h for longer
	$(TOOLS) fetch test
	TIDEMARK_SOAK=$(or $(SOAK),1h) $(TOOLS) with-trino $(GO) test -count=1 -v -timeout 0 -run 'Soak|EveryEngine' ./...

stack: ## a local stack to play with: primary, two replicas, MinIO, a shop with traffic
	$(GO) build -o bin/stack ./examples/stack
	bin/stack up

stack-down: ## take it down
	$(GO) build -o bin/stack ./examples/stack
	bin/stack down

clean: ## remove what was built; .cache stays (rm -rf .cache to start from nothing)
	rm -rf bin
