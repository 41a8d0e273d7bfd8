# Gale. `make help` lists the targets.

GO        ?= go
TOOLS     := $(CURDIR)/bin/tools
GOLANGCI  := $(TOOLS)/golangci-lint
GOLANGCI_VERSION := v2.5.0
RESULTS   := $(CURDIR)/bench/results
# The linter reads the code as the compiler in go.mod sees it.
TEST_FLAGS ?=

# WebSocket clients that the server is tried with.
CLIENTS   := /usr/lib/python3/dist-packages/tornado:python3-tornado /usr/lib/python3/dist-packages/websockets:python3-websockets /usr/share/nodejs/ws:node-ws node:nodejs

# What is tested is what ships: a binary that needs no other file. The race
# detector alone is C.
export CGO_ENABLED = 0
race: export CGO_ENABLED = 1

# Where `make install` puts what it installs; DESTDIR stands before all of it.
DESTDIR   ?=
PREFIX    ?= /usr/local
SYSCONF   ?= /etc/gale
UNITS     := $(PREFIX)/lib/systemd/system
SHARE     := $(PREFIX)/share/gale

.PHONY: console-images install uninstall help build run test race e2e faults lint check fmt bench bench-cost bench-sockets bench-jobs bench-uploads bench-idle bench-plots bench-packages docs dist rename-module clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: ## build bin/server
	$(GO) build -trimpath -o bin/server .

run: build ## build, and serve on the defaults: http://127.0.0.1:8888
	exec bin/server

install: build ## install the binary, the systemd units and examples below PREFIX; DESTDIR=… stages
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(UNITS) $(DESTDIR)$(SHARE) $(DESTDIR)$(SYSCONF)
	install -m 0755 bin/server $(DESTDIR)$(PREFIX)/bin/server.new
	mv -f $(DESTDIR)$(PREFIX)/bin/server.new $(DESTDIR)$(PREFIX)/bin/server
	for unit in gale.service gale.socket gale-worker.service; do \
		sed -e 's|/usr/local/bin/|$(PREFIX)/bin/|; s|/etc/gale/|$(SYSCONF)/|' deploy/systemd/$$unit > $(DESTDIR)$(UNITS)/$$unit && \
		chmod 0644 $(DESTDIR)$(UNITS)/$$unit || exit 1; \
	done
	for conf in server.conf worker.conf; do \
		[ -e $(DESTDIR)$(SYSCONF)/$$conf ] || install -m 0644 deploy/systemd/$$conf $(DESTDIR)$(SYSCONF)/$$conf || exit 1; \
	done
	cp -R deploy/nginx deploy/haproxy deploy/prometheus deploy/grafana deploy/tasks.toml $(DESTDIR)$(SHARE)/

uninstall: ## remove what install has put there, but the configuration and the state
	rm -f $(DESTDIR)$(PREFIX)/bin/server $(DESTDIR)$(UNITS)/gale.service $(DESTDIR)$(UNITS)/gale.socket $(DESTDIR)$(UNITS)/gale-worker.service
	rm -rf $(DESTDIR)$(SHARE)
	@echo "left: $(DESTDIR)$(SYSCONF) and /var/lib/gale"

test: ## all tests but the slow ones; under five minutes
	.ci/need curl:curl flac:flac openssl:openssl redis-server:redis-server,redis-tools $(CLIENTS)
	$(GO) test -parallel 4 -timeout 30m $(TEST_FLAGS) ./...
	cd test/openapi && $(GO) test -timeout 30m $(TEST_FLAGS) ./...

race: ## the same under the race detector
	.ci/need curl:curl flac:flac openssl:openssl gcc:gcc,libc6-dev redis-server:redis-server,redis-tools $(CLIENTS)
	$(GO) test -race -timeout 30m $(TEST_FLAGS) ./...

e2e: ## slower tests against foreign programs, installed as needed
	.ci/need curl:curl flac:flac openssl:openssl $(CLIENTS) python3:python3 npm:npm chromium:chromium soxi:sox,libsox-fmt-mp3 ffprobe:ffmpeg systemd-analyze:systemd redis-server:redis-server,redis-tools siege:siege strace:strace nginx:nginx haproxy:haproxy promtool:prometheus unshare:util-linux ip:iproute2 \
		buildah:buildah docker-compose:docker-compose qemu-aarch64:qemu-user mandoc:mandoc fish:fish zsh:zsh git:git /etc/ssl/certs/ca-certificates.crt:ca-certificates
	$(GO) test -tags e2e -run '^TestE2E' -count 1 -p 1 -timeout 30m -v $(TEST_FLAGS) ./test/... ./app/internal/chaos
	cd deploy/kubernetes && $(GO) test -count 1 .
	$(GO) run ./bench/faults

console-images: ## make the README's pictures of the console anew
	.ci/need node:nodejs npm:npm chromium:chromium
	CONSOLE_SHOTS=$(CURDIR)/bin/console $(GO) test -tags e2e -run '^TestE2EConsole$$/^drop$$' -count 1 -v ./test/console
	mkdir -p docs/images && cp bin/console/console.png bin/console/task.png docs/images/

faults: ## break a running server under load; fails if a connection is lost
	$(GO) run ./bench/faults

lint: $(GOLANGCI) ## golangci-lint, go fix and go mod tidy
	$(GOLANGCI) run --allow-parallel-runners
	@echo "go fix -diff ./..."; diff=$$($(GO) fix -diff ./...) && [ -z "$$diff" ] || { echo "$$diff"; exit 1; }
	$(GO) mod tidy -diff
	cd bench/peers && $(GO) vet ./... && $(GO) mod tidy -diff
	cd bench/plots && $(GO) vet ./... && $(GO) mod tidy -diff && $(GO) test ./...
	cd deploy/kubernetes && $(GO) vet ./... && $(GO) mod tidy -diff
	cd test/openapi && $(GO) vet ./... && $(GO) mod tidy -diff

$(GOLANGCI):
	GOBIN=$(TOOLS) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@$(GOLANGCI_VERSION)

check: fmt lint test race ## what a commit should pass

fmt: ## gofmt and go fix
	$(GO) fix ./...
	gofmt -w $$(git ls-files '*.go')

bench: build ## all comparisons with other programs, within 15 minutes; data and plots in bench/results
	timeout 15m $(MAKE) bench-cost bench-sockets bench-idle bench-uploads bench-jobs
	$(MAKE) bench-plots

bench-cost: build ## GET /, /delay, /fetch beside fasthttp's prefork, net/http and Tornado; by connections and processes
	.ci/need wrk:wrk taskset:util-linux /usr/bin/python3:python3 /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/cost -out $(RESULTS)

bench-sockets: build ## WebSocket echo and broadcast beside fasthttp/websocket and Tornado
	.ci/need taskset:util-linux /usr/bin/python3:python3 /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/sockets -out $(RESULTS)

bench-plots: ## draw what was measured, and the tables
	cd bench/plots && $(GO) run . $(RESULTS)

bench-packages: ## the packages' own benchmarks
	$(GO) test -run '^$$' -bench . -benchmem ./...

bench-jobs: ## no-op tasks, also by how many wait, beside machinery's own Redis broker, asynq and Celery
	.ci/need redis-server:redis-server,redis-tools celery:celery,python3-celery,python3-redis
	cd bench/peers && $(GO) test -run '^$$' -bench . -benchtime 1x -timeout 10m -v . -args -out $(RESULTS)

bench-uploads: ## one large upload, by form and by tus, beside nginx and Tornado
	.ci/need nginx:nginx sha256sum:coreutils /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/uploads -out $(RESULTS)

bench-idle: ## memory of idle WebSockets beside Tornado; 5,000 long polls and event streams
	.ci/need /usr/bin/python3:python3 /usr/lib/python3/dist-packages/tornado:python3-tornado
	$(GO) run ./bench/idle -out $(RESULTS)

docs: ## write docs/configuration.md from the flags
	$(GO) run ./app/internal/reference > docs/configuration.md.new
	mv docs/configuration.md.new docs/configuration.md

dist: ## archives for linux/amd64 and linux/arm64, reproducible, in dist/
	$(GO) run ./app/internal/dist

rename-module: ## give the module another path: make rename-module MODULE=example.com/you/gale
	@[ -n "$(MODULE)" ] || { echo "usage: make rename-module MODULE=example.com/you/gale" >&2; exit 2; }
	old=$$($(GO) list -m) && git grep -lF "$$old" | xargs sed -i "s#$$old#$(MODULE)#g"
	gofmt -w $$(git ls-files '*.go')

clean: ## remove what was built
	rm -rf bin dist
