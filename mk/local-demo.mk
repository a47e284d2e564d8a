## make demo         show a dump and a restore, step by step (as root)

.PHONY: demo
demo: engine plugins
	@BUILD=$(BUILD) tools/demo
