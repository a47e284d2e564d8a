# What building and testing need, as Debian 12 packages.
## make deps         install what is needed to build and test (Debian, as root)

DEPS := gcc g++ make binutils libc6-dev linux-libc-dev pkg-config protobuf-c-compiler libprotobuf-c-dev libsodium-dev libxxhash-dev libcap-dev libelf-dev libcmocka-dev
# the tests' own tools
DEPS += clang libclang-rt-14-dev
DEPS += util-linux bsdutils procps mount iproute2 nftables iptables tmux python3 perl criu
# programs that are dumped
DEPS += redis-server nodejs openjdk-17-jdk-headless

.PHONY: deps
deps:
	@missing=; for p in $(DEPS); do \
		dpkg-query -W -f '$${db:Status-Status}' $$p 2>/dev/null | grep -qx installed || missing="$$missing $$p"; \
	done; \
	[ -z "$$missing" ] || { echo "installing$$missing"; apt-get -q update && \
		DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get -q install -y --no-install-recommends $$missing; }
