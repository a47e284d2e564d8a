# Whole applications with clients that stay connected (tests/apps).
## make check-apps   install servers from Debian, dump and restore each under live clients, on loopback (ROUNDS=5, APPS='redis sshd')

APP_DEPS := redis-server memcached nginx-light postgresql mariadb-server openssh-server openssh-client dbus rsync git nodejs openjdk-17-jdk-headless \
	python3 tmux iproute2
APPS ?= $(basename $(notdir $(filter-out tests/apps/lib.sh,$(wildcard tests/apps/*.sh))))

.PHONY: check-apps
check-apps: engine plugins
	@missing=; for p in $(APP_DEPS); do \
		dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] || { echo "installing$$missing"; apt-get -q update && \
		DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q install -y --no-install-recommends $$missing; }
	@BUILD=$(BUILD) ROUNDS=$(ROUNDS) tests/run -j 2 $(APPS:%=apps/%)
