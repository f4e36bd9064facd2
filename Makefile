# Gatehouse: what a developer types. `make help` lists it.
SHELL       := bash
.SHELLFLAGS := -eu -o pipefail -c

.PHONY: help run test fuzz bench lint alone tidy build up

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## both servers in one process, with demo data in ./data
	go run . serve

test: ## all tests of all modules under the race detector; what was skipped is summed up at the end
	scripts/test.sh

fuzz: ## every fuzz target for 30 seconds, one after another
	scripts/fuzz.sh

bench: ## speed, each number beside its floor in the same run
	go test -run '^$$' -bench . -benchmem work | grep -Ev '^(\?|ok|PASS$$)'

lint: ## gofmt, go vet, staticcheck and the rules for text (.ci/words.txt) over all modules
	@if [ -n "$$(gofmt -l .)" ]; then echo "gofmt -w these files:"; gofmt -l .; exit 1; fi
	go run ./e2e/checktext
	go vet work
	go tool staticcheck work

alone: ## each module builds and vets by itself, against releases of the others
	scripts/alone.sh

tidy: ## go.mod and go.sum of each module as go mod tidy leaves them
	scripts/alone.sh --tidy

build: ## the three programs into ./bin, static
	CGO_ENABLED=0 go build -trimpath -o bin/ . ./authserver/cmd/authserver ./mcpserver/cmd/mcpserver

up: ## the production form in containers: PostgreSQL, Redis, two replicas of each server, a proxy
	docker compose up --build
