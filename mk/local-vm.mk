# Other kernels in virtual machines, and the exchange of images with CRIU in one of them (tests/compat); not part of
# `make test`.  VMRUN names the program that boots a kernel (tests/compat/vm.sh says how it is called).
## make check-vm     the programs on other kernels in virtual machines (VMRUN=…, KERNELS='6.1 6.12', VMTESTS='prog/*@host')
## make check-vm-compat  exchange images with the CRIU of a virtual machine's Debian, both ways (VMRUN=…, VMKERNEL=6.1)

VMRUN ?= vm-run
KERNELS ?= 5.10 6.1 6.12 7.2
VMKERNEL ?= 6.1
VMTESTS ?= prog/*/plain@host
COMPAT ?=

.PHONY: check-vm check-vm-compat check-compat
check-vm: all
	@rc=0; for k in $(KERNELS); do \
		BUILD=$(BUILD) VMRUN="$(VMRUN)" tests/compat/vm.sh $$k tests/run -j 2 $(foreach t,$(VMTESTS),'$(t)'); \
		e=$$?; [ $$e = 0 ] || [ $$e = 77 ] || rc=1; done; exit $$rc

check-vm-compat: all
	@BUILD=$(BUILD) VMRUN="$(VMRUN)" tests/compat/vm.sh $(VMKERNEL) tests/compat/run $(foreach t,$(COMPAT),'$(t)') || [ $$? = 77 ]

## make check-compat the same with a CRIU that runs on this machine (CRIU=…)
check-compat: all
	@BUILD=$(BUILD) tests/compat/run $(foreach t,$(COMPAT),'$(t)') || [ $$? = 77 ]
