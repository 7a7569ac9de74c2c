# `make demo` and `make test` are enough by themselves on a fresh machine; `make verify` never writes to the sources.
.PHONY: demo test verify sim soak microbench bench lint fix build clean

demo: build
	@.build/release/suanpan demo

test:
	@scripts/test.sh

verify: lint test sim microbench

# 200 worlds drawn from seeds 1 to 200. `make sim ARGUMENTS="--seed 7 --verbose"` for one.
sim:
	@scripts/sim.sh $(ARGUMENTS)

# New worlds until Ctrl-C.
soak:
	@scripts/sim.sh --forever --from "$$(date +%s)000" $(ARGUMENTS)

# Instructions per payment of single mechanisms, against their limits.
microbench:
	@scripts/microbench.sh

# `make bench ARGUMENTS="--case lone --json lone.json"` for some of it.
bench:
	@scripts/bench.sh $(ARGUMENTS)

lint:
	@scripts/lint.sh

fix:
	@scripts/fix.sh

build:
	@scripts/build.sh

clean:
	@scripts/clean.sh
