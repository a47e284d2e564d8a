# libnftables itself is loaded when a network lock is needed (lock_nft.c)
inet_LIBS := -ldl
